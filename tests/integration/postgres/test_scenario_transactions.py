"""What a transaction may hold and how it may end: order, size, savepoints, two phases, COPY, TRUNCATE, messages, origins.

Subjects of PostgreSQL's own subscription tests 001, 010, 015 to 018, 020 to 023, 030 and 100, seen through protocol 1.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import orjson
import psycopg
import pytest

from tests.integration.postgres.stream import ALWAYS, NEVER, OpenCapture, Seen, Stream, on, on_every_version
from tests.servers.plugin import StartPostgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, a text)"


def ids(seen: Sequence[Seen]) -> list[int]:
    return [(s.after or s.before or {})["id"] for s in seen if not s.tombstone]


def copy(stream: Stream, rows: range) -> None:
    with stream.connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as target:
        for row in rows:
            target.write_row((row, "x"))


@on()
def test_P11_rows_of_a_copy_share_lsns_and_not_ids(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    copy(stream, range(1000))
    seen = stream.read()
    assert ids(seen) == list(range(1000))
    assert len({s.source["lsn"] for s in seen}) < 500
    assert len({s.id for s in seen}) == 1000
    assert [s.value["transaction"]["total_order"] for s in seen] == list(range(1, 1001))


@on_every_version()
@pytest.mark.parametrize("interval", [NEVER, ALWAYS], ids=["unsaved", "saved"])
def test_P11_a_copy_that_was_cut_goes_on_where_it_was_durable(capture: OpenCapture, interval: str) -> None:
    """Dead after row 1, 7, 100, 101 …: all rows in the end, and no id for two of them."""
    stream = capture(TABLE, CDC_CHECKPOINT_INTERVAL=interval)
    stream.batch_bytes = 2000
    stream.restart()
    stream.die_after(1)
    copy(stream, range(300))
    stream.await_death()
    for more in (7, 100, 101, 50):
        stream.die_after(more)
        stream.start()
        stream.await_death()
    stream.start()
    seen = stream.read()
    assert ids(list({s.id: s for s in seen}.values())) == list(range(300))
    if interval == ALWAYS:
        assert len(seen) < 2 * 300, "nothing was saved inside the transaction"


@on()
def test_P11_transactions_that_overlap_come_in_the_order_of_their_commits(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    with stream.begin() as early, stream.begin() as late:
        early.execute("BEGIN; INSERT INTO t VALUES (1)")
        late.execute("BEGIN; INSERT INTO t VALUES (2)")
        early.execute("INSERT INTO t VALUES (3)")
        stream.sql("INSERT INTO t VALUES (4)")
        late.execute("INSERT INTO t VALUES (5); COMMIT")
        stream.restart()
        early.execute("UPDATE t SET a = 'x' WHERE id = 2; COMMIT")
    seen = stream.read()
    assert ids(seen) == [4, 2, 5, 1, 3, 2]
    assert [s.value["transaction"]["total_order"] for s in seen] == [1, 1, 2, 1, 2, 3]


@on(13, 18)
def test_P27_a_transaction_that_the_server_spills(capture: OpenCapture) -> None:
    """Larger than the server's memory for decoding: it comes whole, in order, once."""
    stream = capture(TABLE, started=False)
    stream.sql(f"ALTER DATABASE {stream.database} SET logical_decoding_work_mem = '64kB'")
    stream.start()
    stream.transaction(
        "INSERT INTO t SELECT n, repeat('x', 50) FROM generate_series(1, 4000) n",
        "UPDATE t SET a = 'y' WHERE id > 3500",
        "DELETE FROM t WHERE id <= 500",
    )
    seen = stream.changes()
    assert ids(seen) == [*range(1, 4001), *range(3501, 4001), *range(1, 501)]
    assert [s.value["transaction"]["total_order"] for s in seen] == list(range(1, 5001))


@on()
def test_P28_what_a_savepoint_took_back_is_not_told_of(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.transaction(
        "INSERT INTO t VALUES (1)",
        "SAVEPOINT a",
        "INSERT INTO t VALUES (2)",
        "SAVEPOINT b",
        "INSERT INTO t VALUES (3)",
        "ROLLBACK TO a",
        "INSERT INTO t VALUES (4)",
        "SAVEPOINT c",
        "ALTER TABLE t ADD b int",
        "INSERT INTO t VALUES (5, 'x', 5)",
        "ROLLBACK TO c",
        "INSERT INTO t VALUES (6)",
        "RELEASE c",
        "UPDATE t SET a = 'end' WHERE id = 1",
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        stream.transaction("INSERT INTO t VALUES (7)", "INSERT INTO t VALUES (1)")
    seen = stream.read()
    assert ids(seen) == [1, 4, 6, 1]
    assert {s.version for s in seen} == {1}
    assert [s.id.rpartition(":")[2] for s in seen] == ["0", "1", "2", "3"]


@on()
def test_P28_many_savepoints_of_a_large_transaction(capture: OpenCapture) -> None:
    """Every second of 300 subtransactions fails; more of them than fit into the server's cache of 64."""
    stream = capture(
        TABLE,
        "CREATE FUNCTION fill() RETURNS void LANGUAGE plpgsql AS $$BEGIN FOR n IN 1..300 LOOP BEGIN "
        "INSERT INTO t SELECT n * 100 + m, repeat('x', 100) FROM generate_series(1, 5) m; "
        "IF n % 2 = 0 THEN RAISE EXCEPTION 'back'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END$$",
        started=False,
    )
    stream.sql(f"ALTER DATABASE {stream.database} SET logical_decoding_work_mem = '64kB'")
    stream.start()
    stream.sql("SELECT fill()")
    assert ids(stream.read()) == [n * 100 + m for n in range(1, 301, 2) for m in range(1, 6)]


@on()
@pytest.mark.parametrize("version", [13, 15, 18])
def test_P38_prepared_is_not_committed(postgres_server: StartPostgres, capture: OpenCapture, version: int) -> None:
    """Told of at COMMIT PREPARED, wherever connector and server were restarted in between."""
    server = postgres_server(version, max_prepared_transactions="5")
    stream = capture(TABLE, server=server)
    stream.sql("BEGIN; INSERT INTO t VALUES (1, 'p'); PREPARE TRANSACTION 'one'")
    stream.sql("BEGIN; INSERT INTO t VALUES (2, 'p'); PREPARE TRANSACTION 'two'")
    stream.sql("BEGIN; INSERT INTO t VALUES (3, 'p'); SAVEPOINT s; INSERT INTO t VALUES (4); ROLLBACK TO s")
    stream.sql("PREPARE TRANSACTION 'three'", "INSERT INTO t VALUES (5)")
    assert ids(stream.read()) == [5]
    stream.restart()
    stream.sql("COMMIT PREPARED 'one'", "ROLLBACK PREPARED 'two'")
    assert ids(stream.read()) == [1]
    stream.stop()
    stream.connection.close()
    server.restart("immediate")
    stream.reconnect()
    stream.sql("INSERT INTO t VALUES (6)", "COMMIT PREPARED 'three'")
    stream.start()
    seen = stream.read()
    assert ids(seen) == [6, 3]
    assert seen[1].source["lsn"] < seen[0].source["lsn"], "written before, committed after"


@on()
def test_P40_truncate_of_several_tables_with_cascade(capture: OpenCapture) -> None:
    """One event for each table, in the statement's order, those that were dragged along at the end."""
    stream = capture(
        "CREATE TABLE b (id int PRIMARY KEY)",
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, a int REFERENCES a)",
    )
    stream.transaction(
        "INSERT INTO a VALUES (1)",
        "TRUNCATE b, a RESTART IDENTITY CASCADE",
        "INSERT INTO a VALUES (1)",
        "TRUNCATE c",
    )
    seen = stream.read()
    assert [(s.op, s.table) for s in seen] == [
        ("c", "public.a"),
        ("t", "public.b"),
        ("t", "public.a"),
        ("t", "public.c"),
        ("c", "public.a"),
        ("t", "public.c"),
    ]
    assert [s.id.rpartition(":")[2] for s in seen] == ["0", "1", "2", "3", "4", "5"]
    assert [s.value["transaction"]["data_collection_order"] for s in seen] == [1, 1, 2, 1, 3, 2]
    assert {(s.key, s.before, s.after, s.broadcast) for s in seen if s.op == "t"} == {(None, None, None, True)}


@on()
@pytest.mark.parametrize(("policy", "ops"), [("single", ["c", "t", "c"]), ("off", ["c", "c"])])
def test_P40_truncate_by_setting(capture: OpenCapture, policy: str, ops: list[str]) -> None:
    stream = capture(TABLE, CDC_TRUNCATE=policy)
    stream.transaction("INSERT INTO t VALUES (1)", "TRUNCATE t", "INSERT INTO t VALUES (2)")
    seen = stream.read()
    assert [s.op for s in seen] == ops
    assert not any(s.broadcast for s in seen)
    assert seen[-1].id.endswith(":2"), "a truncate that is not told of keeps its ordinal"


@on(since=14)
def test_P14_messages_transactional_and_not(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    with stream.begin() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO t VALUES (1)")
        other.execute("SELECT pg_logical_emit_message(true, 'in', 'first')")
        other.execute("SELECT pg_logical_emit_message(false, 'out', convert_to('at once', 'UTF8'))")
        other.execute("INSERT INTO t VALUES (2)")
        other.execute("SELECT pg_logical_emit_message(true, 'in', '')")
        other.execute("COMMIT")
    with stream.begin() as other:
        other.execute("BEGIN; INSERT INTO t VALUES (3)")
        other.execute("SELECT pg_logical_emit_message(true, 'in', 'gone')")
        other.execute("SELECT pg_logical_emit_message(false, 'out', '\\x00ff'::bytea)")
        other.execute("ROLLBACK")
    seen = stream.read()
    assert [s.op for s in seen] == ["m", "c", "m", "c", "m", "m"]
    told = [
        (s.value["message"]["prefix"], base64.b64decode(s.value["message"]["content"])) for s in seen if s.op == "m"
    ]
    assert told == [("out", b"at once"), ("in", b"first"), ("in", b""), ("out", b"\x00\xff")]
    outer, _, inner, row, _, alone = seen
    assert (outer.topic, outer.key) == ("t.message", {"prefix": "out"})
    assert (outer.source["schema"], outer.source["table"], outer.source["txId"]) == ("", "", None)
    assert outer.value["transaction"] is None and alone.value["transaction"] is None
    assert inner.value["transaction"]["total_order"] == 2
    assert inner.value["transaction"]["id"] == row.value["transaction"]["id"]
    assert (row.value["transaction"]["total_order"], row.id.rpartition(":")[2]) == (3, "1"), (
        "a message takes no ordinal"
    )


@on(since=14)
@pytest.mark.parametrize("interval", [NEVER, ALWAYS], ids=["unsaved", "saved"])
def test_P14_a_message_is_no_place_to_resume_from(capture: OpenCapture, interval: str) -> None:
    """Dead after each record of a transaction with messages in it and beside it: no row is lost, no id changes."""
    stream = capture(TABLE, CDC_CHECKPOINT_INTERVAL=interval)
    stream.batch_bytes = 1
    stream.restart()
    stream.die_after(1)
    stream.transaction(
        "SELECT pg_logical_emit_message(true, 'in', '1')",
        "INSERT INTO t VALUES (1)",
        "SELECT pg_logical_emit_message(false, 'out', '2')",
        "SELECT pg_logical_emit_message(true, 'in', '3')",
        "INSERT INTO t VALUES (2)",
        "SELECT pg_logical_emit_message(true, 'in', '4')",
    )
    stream.sql("SELECT pg_logical_emit_message(false, 'out', '5')", "INSERT INTO t VALUES (3)")
    stream.await_death()
    for records in range(2, 8):
        stream.die_after(records if interval == NEVER else 1)
        stream.start()
        stream.await_death()
    stream.start()
    unique = list({s.id: s for s in stream.read()}.values())
    assert [s.value["message"]["content"] if s.op == "m" else s.key for s in unique] == [
        base64.b64encode(b"2").decode(),
        base64.b64encode(b"1").decode(),
        {"id": 1},
        base64.b64encode(b"3").decode(),
        {"id": 2},
        base64.b64encode(b"4").decode(),
        base64.b64encode(b"5").decode(),
        {"id": 3},
    ]


@on(13, 18)
def test_P14_a_flood_of_messages_beside_the_tables(capture: OpenCapture) -> None:
    """Before 14 they are not in the stream; from 14 on nobody needs to have them."""
    stream = capture(TABLE, CDC_POSTGRES_MESSAGES="false")
    stream.sql("SELECT pg_logical_emit_message(n % 2 = 0, 'p', repeat('x', 1000)) FROM generate_series(1, 500) n")
    stream.sql("INSERT INTO t VALUES (1)")
    assert ids(stream.read()) == [1]


@on()
def test_P11_origin_of_a_replicated_transaction(capture: OpenCapture) -> None:
    """TAP 030's subject: where a row came from first is told, and does not keep it from being told of."""
    stream = capture(TABLE)
    name = f"far away {stream.database}"
    stream.sql(
        f"SELECT pg_replication_origin_create('{name}')", f"SELECT pg_replication_origin_session_setup('{name}')"
    )
    stream.transaction(
        "SELECT pg_replication_origin_xact_setup('1/AB', '2024-02-29 12:00:00+00')",
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 'x'",
    )
    stream.sql("SELECT pg_replication_origin_session_reset()", "INSERT INTO t VALUES (2)")
    seen = stream.read()
    assert [(s.source["origin"], s.source["origin_lsn"]) for s in seen] == [(name, 0x1000000AB)] * 2 + [(None, None)]
    assert seen[0].source["ts_us"] == 1709208000000000
    stream.sql(f"SELECT pg_replication_origin_drop('{name}')")


@on()
def test_P11_sequence_names_the_commit_before_also_after_a_restart(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.sql("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    first, second = stream.read()
    stream.restart()
    stream.sql("INSERT INTO t VALUES (3)")
    (third,) = stream.read()
    commits = [int(s.value["transaction"]["id"].partition(":")[2]) for s in (first, second)]
    assert orjson.loads(second.source["sequence"]) == [str(commits[0]), str(second.source["lsn"])]
    assert int(orjson.loads(third.source["sequence"])[0]) > commits[1], (
        "the marker that ended the first life came between"
    )
    assert third.source["txId"] == int(third.value["transaction"]["id"].partition(":")[0])


@on()
def test_P11_statements_that_change_no_row_give_no_event(capture: OpenCapture) -> None:
    stream = capture(TABLE, "INSERT INTO t VALUES (1)")
    stream.sql(
        "UPDATE t SET a = 'x' WHERE id = 9",
        "DELETE FROM t WHERE id = 9",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "SELECT * FROM t FOR UPDATE",
        "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 'upserted'",
    )
    assert [(s.op, s.after) for s in stream.read()] == [("u", {"id": 1, "a": "upserted"})]


@on(since=15)
def test_P11_merge_tells_each_row_by_what_was_done_to_it(capture: OpenCapture) -> None:
    stream = capture(TABLE, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    stream.sql(
        "MERGE INTO t USING (VALUES (1, 'x'), (2, NULL), (3, 'z')) AS s (id, a) ON t.id = s.id "
        "WHEN MATCHED AND s.a IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET a = s.a "
        "WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.a)"
    )
    assert sorted((s.op, (s.key or {})["id"]) for s in stream.changes()) == [("c", 3), ("d", 2), ("u", 1)]
