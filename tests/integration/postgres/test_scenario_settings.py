"""What the operator may choose about records: keys, topics, headers, tombstones. And real child processes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest

from tests.faults.connector import Connector
from tests.integration.postgres.envelope_schema import validate
from tests.integration.postgres.stream import OpenCapture, on

TABLE = "CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b int)"
WRITES = ("INSERT INTO t VALUES (1, 'x', 2)", "UPDATE t SET b = 3", "UPDATE t SET a = 'y'", "DELETE FROM t")


@on()
def test_P18_keys_by_setting(capture: OpenCapture) -> None:
    """In the order that was asked for; a change of one of them is a change of the key."""
    stream = capture(TABLE, "ALTER TABLE t REPLICA IDENTITY FULL", CDC_KEYS="public.t=b,a")
    stream.sql(*WRITES)
    seen = stream.changes()
    assert [(s.op, list((s.key or {}).items())) for s in seen] == [
        ("c", [("b", 2), ("a", "x")]),
        ("d", [("b", 2), ("a", "x")]),
        ("c", [("b", 3), ("a", "x")]),
        ("d", [("b", 3), ("a", "x")]),
        ("c", [("b", 3), ("a", "y")]),
        ("d", [("b", 3), ("a", "y")]),
    ]
    assert [s.id.rpartition(":")[2] for s in seen] == ["0", "d", "c", "d", "c", "0"]


@on()
@pytest.mark.parametrize(
    ("keys", "fault"),
    [("public.t=b", "key-not-carried"), ("public.t=nix", "key-column-missing")],
    ids=["carried", "there"],
)
def test_P18_keys_that_the_log_does_not_carry_halt(capture: OpenCapture, keys: str, fault: str) -> None:
    stream = capture(TABLE, CDC_KEYS=keys)
    stream.sql("INSERT INTO t VALUES (1, 'x', 2)")
    if fault == "key-not-carried":
        assert [s.key for s in stream.read()] == [{"b": 2}]
    stream.sql("DELETE FROM t")
    failure = stream.halted()
    assert (getattr(failure, "fault", ""), int(getattr(failure, "exit_code", 0))) == (fault, 4)
    assert stream.taken() == []


@on()
def test_K11_without_tombstones(capture: OpenCapture) -> None:
    stream = capture(TABLE, CDC_TOMBSTONES="false")
    stream.sql("INSERT INTO t VALUES (1, 'x', 2)", "UPDATE t SET id = 2", "DELETE FROM t")
    assert [(s.op, s.key) for s in stream.read()] == [
        ("c", {"id": 1}),
        ("d", {"id": 1}),
        ("c", {"id": 2}),
        ("d", {"id": 2}),
    ]


@on()
def test_K12_headers_on_every_record(capture: OpenCapture) -> None:
    stream = capture(TABLE, CDC_HEADERS="id,op,table,v,schema-version,content-type")
    stream.sql(
        "INSERT INTO t VALUES (1, 'x', 2)",
        "UPDATE t SET id = 2",
        "ALTER TABLE t ADD c int",
        "DELETE FROM t",
        "TRUNCATE t",
    )
    seen = stream.read()
    assert [s.op for s in seen] == ["c", "d", "tombstone", "c", "d", "tombstone", "t"]
    for s in seen:
        assert list(s.headers) == ["cdc-id", "cdc-op", "cdc-table", "cdc-v", "cdc-schema-version", "content-type"]
        assert (s.headers["cdc-table"], s.headers["cdc-v"]) == ("public.t", "1")
        assert s.headers["content-type"] == "application/json"
        if not s.tombstone:
            assert (s.headers["cdc-id"], s.headers["cdc-op"]) == (s.id, s.op)
            assert int(s.headers["cdc-schema-version"]) == s.version
    assert seen[2].headers["cdc-id"] == seen[1].id


@on(since=14)
def test_K12_headers_on_messages(capture: OpenCapture) -> None:
    """A message is of no table and no version of one."""
    stream = capture(TABLE, CDC_HEADERS="op,id,table,v,schema-version,content-type")
    stream.sql("SELECT pg_logical_emit_message(true, 'p', 'x')")
    (seen,) = stream.read()
    assert seen.headers == {"cdc-op": "m", "cdc-id": seen.id, "cdc-v": "1", "content-type": "application/json"}


@on(since=14)
def test_S15_topics_by_template(capture: OpenCapture) -> None:
    stream = capture(TABLE, CDC_TOPIC="cdc.{schema}_{table}", CDC_MESSAGE_TOPIC="own.{name}")
    stream.sql("INSERT INTO t VALUES (1, 'x', 2)", "SELECT pg_logical_emit_message(true, 'p', 'x')")
    assert [s.topic for s in stream.read()] == ["cdc.public_t", "own.t"]


@on()
def test_X13_other_tables_after_a_restart(capture: OpenCapture) -> None:
    """The selection may change between two lives: ids stay, what was selected before is remembered."""
    stream = capture(TABLE, "CREATE TABLE u (id int PRIMARY KEY)")
    stream.sql("INSERT INTO t VALUES (1, 'x', 2)", "ALTER TABLE t ADD c int", "UPDATE t SET c = 1")
    assert [s.version for s in stream.read()] == [1, 2]
    stream.restart(CDC_TABLES="public.u,marker.seen")
    stream.transaction("INSERT INTO t VALUES (2, 'x', 2)", "INSERT INTO u VALUES (1)")
    assert [(s.table, s.id.rpartition(":")[2]) for s in stream.read()] == [("public.u", "1")]
    stream.restart(CDC_TABLES="public.*,marker.seen")
    stream.sql("UPDATE t SET c = 2 WHERE id = 2")
    assert [(s.table, s.version) for s in stream.read()] == [("public.t", 2)]


def lines(folder: Path) -> list[bytes]:
    """Whole lines only; one that a kill cut is no record."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [line for path in files for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


@on(13, 18)
def test_X1_a_real_process_is_killed_and_goes_on(capture: OpenCapture, tmp_path: Path) -> None:
    """`cdc run`, SIGKILL in a transaction's wake, `cdc run` again, SIGTERM: every row, each id with one content, exit 0."""
    stream = capture(TABLE, started=False, CDC_CHECKPOINT_INTERVAL="0.05")
    out = tmp_path / "out"
    out.mkdir()
    with TemporaryDirectory(prefix="cdc-") as short:  # a socket's path has its limit
        variables = {**stream.variables, "CDC_SINK": f"file://{out}", "CDC_CHECKPOINT": f"file://{short}/checkpoint"}
        with Connector(tmp_path / "child", variables) as child:
            child.start()
            child.wait_ready()
            stream.sql("INSERT INTO t SELECT n, 'x', n FROM generate_series(1, 500) n")
            child.wait_until(lambda: any(b'"id":400,' in line for line in lines(out)), what="row 400")
            child.kill()
            stream.sql("ALTER TABLE t ADD c int DEFAULT 7", "UPDATE t SET b = 0 WHERE id = 500")
            child.start()
            child.wait_until(lambda: any(b'"b":0,' in line for line in lines(out)), what="the update")
            assert child.term() == 0
    records = [orjson.loads(line) for line in lines(out)]
    contents: dict[str, object] = {}
    for value in (record["value"] for record in records):
        validate(value)
        lasting = {name: part for name, part in value.items() if not name.startswith("ts_")}
        assert contents.setdefault(value["id"], lasting) == lasting
    keys = [record["key"]["id"] for record in {r["value"]["id"]: r for r in records}.values()]
    assert keys == [*range(1, 501), 500]
    assert records[-1]["value"]["after"] == {"id": 500, "a": "x", "b": 0, "c": 7}
    assert records[-1]["value"]["source"]["schema_version"] == 2
