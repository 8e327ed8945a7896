"""Replica identity: what the log carries of the old row, and which columns are the key.

Subjects of PostgreSQL's own subscription tests 001 and 100.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.integration.postgres.stream import OpenCapture, Row, Seen, on, on_every_version

WRITES = (
    "INSERT INTO t VALUES (1, 10, 'a')",
    "UPDATE t SET b = 'x'",
    "UPDATE t SET id = 2, alt = 20",
    "DELETE FROM t",
)
TABLE = "CREATE TABLE t (id int PRIMARY KEY, alt int NOT NULL, b text)"
Told = tuple[str, Row | None, Row | None, Row | None]


def told(seen: list[Seen]) -> list[Told]:
    """Operation, key, before and after; a tombstone has neither image."""
    return [(s.op, s.key, None, None) if s.tombstone else (s.op, s.key, s.before, s.after) for s in seen]


@on()
def test_P18_default_identity_carries_the_primary_key(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.sql(*WRITES)
    assert told(stream.read()) == [
        ("c", {"id": 1}, None, {"id": 1, "alt": 10, "b": "a"}),
        ("u", {"id": 1}, None, {"id": 1, "alt": 10, "b": "x"}),
        ("d", {"id": 1}, {"id": 1}, None),
        ("tombstone", {"id": 1}, None, None),
        ("c", {"id": 2}, None, {"id": 2, "alt": 20, "b": "x"}),
        ("d", {"id": 2}, {"id": 2}, None),
        ("tombstone", {"id": 2}, None, None),
    ]


@on()
def test_P18_full_identity_carries_the_row_and_the_key_is_the_primary_one(capture: OpenCapture) -> None:
    stream = capture(TABLE, "ALTER TABLE t REPLICA IDENTITY FULL")
    stream.sql(*WRITES)
    assert told(stream.read()) == [
        ("c", {"id": 1}, None, {"id": 1, "alt": 10, "b": "a"}),
        ("u", {"id": 1}, {"id": 1, "alt": 10, "b": "a"}, {"id": 1, "alt": 10, "b": "x"}),
        ("d", {"id": 1}, {"id": 1, "alt": 10, "b": "x"}, None),
        ("tombstone", {"id": 1}, None, None),
        ("c", {"id": 2}, None, {"id": 2, "alt": 20, "b": "x"}),
        ("d", {"id": 2}, {"id": 2, "alt": 20, "b": "x"}, None),
        ("tombstone", {"id": 2}, None, None),
    ]


@on()
def test_P18_index_identity_is_the_key_though_there_is_a_primary_one(capture: OpenCapture) -> None:
    stream = capture(
        TABLE, "CREATE UNIQUE INDEX by_alt ON t (alt)", "ALTER TABLE t REPLICA IDENTITY USING INDEX by_alt"
    )
    stream.sql(*WRITES)
    assert told(stream.read()) == [
        ("c", {"alt": 10}, None, {"id": 1, "alt": 10, "b": "a"}),
        ("u", {"alt": 10}, None, {"id": 1, "alt": 10, "b": "x"}),
        ("d", {"alt": 10}, {"alt": 10}, None),
        ("tombstone", {"alt": 10}, None, None),
        ("c", {"alt": 20}, None, {"id": 2, "alt": 20, "b": "x"}),
        ("d", {"alt": 20}, {"alt": 20}, None),
        ("tombstone", {"alt": 20}, None, None),
    ]


@on()
@pytest.mark.parametrize(
    ("identity", "key"),
    [
        ("", ["a", "c"]),
        ("ALTER TABLE t REPLICA IDENTITY FULL", ["c", "a"]),
        ("ALTER TABLE t REPLICA IDENTITY USING INDEX other", ["a", "d"]),
    ],
    ids=["default", "full", "index"],
)
def test_P18_composite_key_in_another_order_than_the_table(capture: OpenCapture, identity: str, key: list[str]) -> None:
    """The log flags key columns in the table's order; only under FULL the catalog is asked, which knows the key's."""
    stream = capture(
        "CREATE TABLE t (a int, b text, c int, d int NOT NULL, PRIMARY KEY (c, a))",
        "CREATE UNIQUE INDEX other ON t (d, a)",
        *filter(None, [identity]),
    )
    stream.sql("INSERT INTO t VALUES (1, 'x', 3, 4)", "UPDATE t SET b = 'y'", "DELETE FROM t")
    values = {"a": 1, "c": 3, "d": 4}
    seen = stream.read()
    assert [s.op for s in seen] == ["c", "u", "d", "tombstone"]
    assert [list((s.key or {}).items()) for s in seen] == [[(name, values[name]) for name in key]] * 4


@on()
def test_P18_key_columns_after_a_dropped_one_and_included_ones(capture: OpenCapture) -> None:
    """INCLUDE columns of an index are no part of the key, and attribute numbers have holes."""
    stream = capture(
        "CREATE TABLE t (gone int, a int, b int, c text, PRIMARY KEY (b) INCLUDE (a))",
        "ALTER TABLE t DROP gone",
        "ALTER TABLE t REPLICA IDENTITY FULL",
    )
    stream.sql("INSERT INTO t VALUES (1, 2, 'x')", "DELETE FROM t")
    assert [s.key for s in stream.read()] == [{"b": 2}] * 3


@on()
def test_P16_a_table_without_key_under_full(capture: OpenCapture) -> None:
    """Null key, whole old rows, and no tombstone: nobody could tell whose it is."""
    stream = capture("CREATE TABLE t (a int, b text)", "ALTER TABLE t REPLICA IDENTITY FULL")
    stream.sql("INSERT INTO t VALUES (1, 'x'), (1, 'x')", "UPDATE t SET b = 'y'", "DELETE FROM t")
    seen = stream.read()
    x, y = {"a": 1, "b": "x"}, {"a": 1, "b": "y"}
    assert told(seen) == [("c", None, None, x)] * 2 + [("u", None, x, y)] * 2 + [("d", None, y, None)] * 2
    assert {s.ordering_key for s in seen} == {b"public.t"}


@on()
@pytest.mark.parametrize(
    "identity",
    ["ALTER TABLE t REPLICA IDENTITY NOTHING", "ALTER TABLE t DROP CONSTRAINT t_pkey"],
    ids=["nothing", "none"],
)
def test_P16_a_table_that_says_nothing_of_old_rows_takes_the_operators_word(
    capture: OpenCapture, identity: str
) -> None:
    stream = capture(TABLE, identity, CDC_POSTGRES_KEYLESS="public.t")
    stream.sql("INSERT INTO t VALUES (1, 10, 'a')", "TRUNCATE t")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        stream.sql("UPDATE t SET b = 'x'")
    assert [(s.op, s.key) for s in stream.read()] == [("c", None), ("t", None)]


@on_every_version()
def test_P17_identity_changed_between_two_updates(capture: OpenCapture) -> None:
    stream = capture(
        TABLE,
        "CREATE UNIQUE INDEX by_alt ON t (alt)",
        "INSERT INTO t VALUES (1, 10, 'a')",
    )
    stream.transaction(
        "UPDATE t SET b = 'b'",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "UPDATE t SET b = 'c'",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX by_alt",
        "UPDATE t SET b = 'd'",
        "ALTER TABLE t REPLICA IDENTITY DEFAULT",
        "UPDATE t SET b = 'e'",
    )
    seen = stream.read()
    assert told(seen) == [
        ("u", {"id": 1}, None, {"id": 1, "alt": 10, "b": "b"}),
        ("u", {"id": 1}, {"id": 1, "alt": 10, "b": "b"}, {"id": 1, "alt": 10, "b": "c"}),
        ("u", {"alt": 10}, None, {"id": 1, "alt": 10, "b": "d"}),
        ("u", {"id": 1}, None, {"id": 1, "alt": 10, "b": "e"}),
    ]
    assert [s.version for s in seen] == [1, 2, 3, 4]
    assert len({s.value["transaction"]["id"] for s in seen}) == 1
    assert [s.value["transaction"]["data_collection_order"] for s in seen] == [1, 2, 3, 4]


@on()
def test_P17_key_moved_to_another_column_between_two_updates(capture: OpenCapture) -> None:
    stream = capture(TABLE, "INSERT INTO t VALUES (1, 10, 'a')")
    stream.transaction(
        "UPDATE t SET id = 2",
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        "ALTER TABLE t ADD PRIMARY KEY (alt)",
        "UPDATE t SET alt = 20",
    )
    assert [(s.op, s.key) for s in stream.read()] == [
        ("d", {"id": 1}),
        ("tombstone", {"id": 1}),
        ("c", {"id": 2}),
        ("d", {"alt": 10}),
        ("tombstone", {"alt": 10}),
        ("c", {"alt": 20}),
    ]


@on(13, 18)
def test_P19_key_dropped_and_added_with_a_backlog(capture: OpenCapture) -> None:
    """The connector is down while the key changes; rows keep the key of their own time."""
    stream = capture(TABLE)
    stream.sql("INSERT INTO t VALUES (1, 10, 'a')")
    assert [s.key for s in stream.read()] == [{"id": 1}]
    stream.stop()
    stream.sql(
        "UPDATE t SET b = 'b'",
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        "INSERT INTO t VALUES (2, 20, 'a')",
        "ALTER TABLE t ADD PRIMARY KEY (alt)",
        "UPDATE t SET b = 'c' WHERE alt = 20",
        "ALTER TABLE t RENAME alt TO key",
        "DELETE FROM t WHERE key = 20",
    )
    stream.start()
    seen = stream.read()
    assert [(s.op, s.key) for s in seen] == [
        ("u", {"id": 1}),
        ("c", None),
        ("u", {"alt": 20}),
        ("d", {"key": 20}),
        ("tombstone", {"key": 20}),
    ]
    assert [s.version for s in seen if not s.tombstone] == [1, 2, 3, 4]


@on(13, 18)
def test_P19_key_under_full_is_learned_once_and_kept(capture: OpenCapture) -> None:
    """Under FULL the log flags every column, so the key is the catalog's of the time when the version was first seen."""
    stream = capture(TABLE, "ALTER TABLE t REPLICA IDENTITY FULL")
    stream.sql("INSERT INTO t VALUES (1, 10, 'a')")
    assert [s.key for s in stream.read()] == [{"id": 1}]
    stream.stop()
    stream.sql("UPDATE t SET b = 'b'", "ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (alt)")
    stream.start()
    stream.sql("UPDATE t SET b = 'c'")
    seen = stream.read()
    assert [(s.key, s.version) for s in seen] == [({"id": 1}, 1)] * 2


@on(13, 18)
def test_P19_key_moved_to_and_fro_under_load(capture: OpenCapture) -> None:
    """While another session writes and the connector lags: each version has one key, and each row the key of its version."""
    stream = capture(TABLE)
    stream.stop()
    ready, done = threading.Event(), threading.Event()

    def write() -> None:
        with stream.begin() as writer:
            number = 0
            while not done.is_set() or number < 50:
                number += 1
                writer.execute(f"INSERT INTO t VALUES ({number}, {-number}, 'x')".encode())
                writer.execute(f"UPDATE t SET b = 'y' WHERE id = {number}".encode())
                ready.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert ready.wait(20)
        for turn in range(6):
            column = ("alt", "id")[turn % 2]
            stream.transaction("ALTER TABLE t DROP CONSTRAINT t_pkey", f"ALTER TABLE t ADD PRIMARY KEY ({column})")
            if turn == 2:
                stream.start()
        done.set()
        writing.result()
    seen = stream.read()
    rows = stream.sql("SELECT count(*) FROM t")[0][0]
    assert [s.op for s in seen] == ["c", "u"] * rows
    keys = {s.version: list(s.key or {}) for s in seen}
    assert sorted(keys) == list(range(1, len(keys) + 1)) and len(keys) > 1
    assert all(list(s.key or {}) == keys[s.version] for s in seen)
    assert [keys[version] for version in sorted(keys)] == [[("id", "alt")[n % 2]] for n in range(len(keys))]


BIG = "repeat('long ', 2000)"
TOAST = (
    "CREATE TABLE t (id int PRIMARY KEY, alt int NOT NULL UNIQUE, b text, big text, raw bytea, list int[], doc jsonb)"
)
EXTERNAL = ("big", "raw", "list", "doc")
STORED = "".join(f"ALTER TABLE t ALTER {column} SET STORAGE EXTERNAL;" for column in EXTERNAL)
FILL = (
    f"INSERT INTO t VALUES (1, 10, 'a', {BIG}, {BIG}::bytea, array_fill(7, ARRAY[3000]), "
    f"jsonb_build_object('k', {BIG}))"
)


@on()
@pytest.mark.parametrize("identity", ["DEFAULT", "USING INDEX t_alt_key"])
@pytest.mark.parametrize("key_changes", [False, True], ids=["other", "key"])
def test_P15_untouched_large_values_are_named_where_the_log_leaves_them_out(
    capture: OpenCapture, identity: str, key_changes: bool
) -> None:
    stream = capture(TOAST, STORED, f"ALTER TABLE t REPLICA IDENTITY {identity}", FILL)
    stream.sql(f"UPDATE t SET b = 'x', big = big{', id = 2, alt = 20' if key_changes else ''}")
    last = stream.read()[-1]
    number = 2 if key_changes else 1
    assert (last.op, last.before) == ("c" if key_changes else "u", None)
    assert last.after == {"id": number, "alt": number * 10, "b": "x"}
    assert last.unchanged == list(EXTERNAL)


@on()
@pytest.mark.parametrize("key_changes", [False, True], ids=["other", "key"])
def test_P15_untouched_large_values_come_from_the_old_row_under_full(capture: OpenCapture, key_changes: bool) -> None:
    stream = capture(TOAST, STORED, "ALTER TABLE t REPLICA IDENTITY FULL", FILL)
    stream.sql(f"UPDATE t SET b = 'x'{', id = 2' if key_changes else ''}")
    seen = stream.changes()
    assert [s.op for s in seen] == (["d", "c"] if key_changes else ["u"])
    before, after = seen[0].before, seen[-1].after
    assert before and after
    assert len(before["big"]) == 10_000 and len(before["list"]) == 3_000
    assert {name: before[name] for name in EXTERNAL} == {name: after[name] for name in EXTERNAL}
    assert (after["b"], seen[-1].unchanged) == ("x", [])


@on()
def test_P15_a_large_value_that_is_set_is_not_called_unchanged(capture: OpenCapture) -> None:
    """Also where it is set to NULL, shrunk, or replaced by an equal one made anew."""
    stream = capture(TOAST, STORED, FILL)
    stream.sql(f"UPDATE t SET big = NULL, raw = 'short', doc = jsonb_build_object('k', {BIG})", "UPDATE t SET b = 'x'")
    first, second = stream.read()
    assert first.after and second.after
    assert (first.after["big"], first.after["raw"], first.unchanged) == (None, "c2hvcnQ=", ["list"])
    assert len(first.after["doc"]) > 10_000
    assert (second.after["big"], second.unchanged) == (None, ["list", "doc"])


@on()
def test_P15_a_large_value_in_the_key_is_never_unchanged(capture: OpenCapture) -> None:
    stream = capture(
        "CREATE TABLE t (id text PRIMARY KEY, b text)",
        "ALTER TABLE t ALTER id SET STORAGE EXTERNAL",
        "INSERT INTO t VALUES (repeat('k', 2500), 'a')",
    )
    stream.sql("UPDATE t SET b = 'b'", "DELETE FROM t")
    key = {"id": "k" * 2500}
    seen = stream.read()
    assert [(s.op, s.key == key) for s in seen] == [("u", True), ("d", True), ("tombstone", True)]
    assert seen[0].after == {**key, "b": "b"}


@on()
def test_P15_key_change_without_its_large_values_halts_when_asked_to(capture: OpenCapture) -> None:
    stream = capture(TOAST, STORED, FILL, CDC_ON_KEY_CHANGE_UNCHANGED="halt")
    stream.sql("UPDATE t SET id = 2")
    failure = stream.halted()
    assert getattr(failure, "fault", "") == "key-change-unchanged"
    assert stream.taken() == []
