"""Tables that change their shape under way: which version each row was decoded with, in every replay.

Subjects of PostgreSQL's own subscription tests 006, 007, 008 and 017.
"""

from __future__ import annotations

import pytest

from tests.integration.postgres.stream import ALWAYS, NEVER, OpenCapture, Seen, on, on_every_version

TABLE = "CREATE TABLE t (id int PRIMARY KEY, a text)"
STEPS = (
    "INSERT INTO t VALUES (1, 'x')",
    "ALTER TABLE t ADD b int DEFAULT 5",
    "INSERT INTO t VALUES (2, 'x', 6)",
    "UPDATE t SET a = 'y' WHERE id = 1",
    "ALTER TABLE t DROP a",
    "INSERT INTO t VALUES (3, 7)",
    "ALTER TABLE t RENAME b TO c",
    "INSERT INTO t VALUES (4, 8)",
    "ALTER TABLE t ALTER c TYPE text",
    "INSERT INTO t VALUES (5, 'nine')",
    "ALTER TABLE t ADD d varchar(5)",
    "ALTER TABLE t ALTER d TYPE varchar(10)",
    "UPDATE t SET d = 'd' WHERE id = 5",
    "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, c)",
    "DELETE FROM t WHERE id = 5",
)
ROWS = [
    (1, {"id": 1, "a": "x"}),
    (2, {"id": 2, "a": "x", "b": 6}),
    (2, {"id": 1, "a": "y", "b": 5}),
    (3, {"id": 3, "b": 7}),
    (4, {"id": 4, "c": 8}),
    (5, {"id": 5, "c": "nine"}),
    (6, {"id": 5, "c": "nine", "d": "d"}),
    (7, {"id": 5, "c": "nine"}),
]


def shapes(seen: list[Seen]) -> list[tuple[int, object]]:
    return [(s.version, s.after or s.before) for s in seen if not s.tombstone]


@on_every_version()
def test_P23_shape_changes_inside_a_transaction(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.transaction(*STEPS)
    assert shapes(stream.read()) == ROWS


@on_every_version()
def test_P23_shape_changes_while_the_connector_is_down(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.stop()
    stream.sql(*STEPS)
    stream.start()
    assert shapes(stream.read()) == ROWS


@on(13, 18)
@pytest.mark.parametrize("interval", [NEVER, ALWAYS], ids=["unsaved", "saved"])
@pytest.mark.parametrize("together", [True, False], ids=["one-transaction", "many"])
def test_P23_versions_are_the_same_in_every_replay(capture: OpenCapture, interval: str, together: bool) -> None:
    """The connector dies after each record. Without saves every life sees all from the start, with them it resumes in between (I6)."""
    stream = capture(TABLE, CDC_CHECKPOINT_INTERVAL=interval)
    stream.batch_bytes = 1
    stream.restart()
    stream.die_after(1)
    if together:
        stream.transaction(*STEPS)
    else:
        stream.sql(*STEPS)
    stream.await_death()
    for records in range(2, len(ROWS) + 1):
        stream.die_after(records if interval == NEVER else 1)
        stream.start()
        stream.await_death()
    stream.start()
    seen = {s.id: s for s in stream.changes()}
    assert shapes(list(seen.values())) == ROWS


@on()
def test_P23_a_shape_that_comes_back_is_a_new_version(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.sql("INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t RENAME a TO b", "INSERT INTO t VALUES (2, 'x')")
    stream.sql("ALTER TABLE t RENAME b TO a", "INSERT INTO t VALUES (3, 'x')")
    assert [s.version for s in stream.read()] == [1, 2, 3]
    stream.restart()
    stream.sql("INSERT INTO t VALUES (4, 'x')")
    assert [s.version for s in stream.read()] == [3]


@on()
def test_P23_what_does_not_touch_the_shape_makes_no_version(capture: OpenCapture) -> None:
    """Rewrites, indexes, defaults, constraints, statistics, ownership: the rows look as before."""
    stream = capture(TABLE, "CREATE TABLE parent (id int PRIMARY KEY)", "INSERT INTO parent VALUES (1), (2)")
    stream.sql("INSERT INTO t VALUES (1, 'x')")
    stream.sql(
        "CREATE INDEX ON t (a)",
        "ALTER TABLE t ALTER a SET DEFAULT 'z'",
        "ALTER TABLE t ALTER a SET NOT NULL",
        "ALTER TABLE t ADD CHECK (a <> '')",
        "ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES parent",
        "ALTER TABLE t SET (fillfactor = 50)",
        "VACUUM FULL t",
        "CLUSTER t USING t_pkey",
        "COMMENT ON COLUMN t.a IS 'no shape'",
        "INSERT INTO t (id) VALUES (2)",
    )
    assert [(s.version, s.after) for s in stream.read() if s.table == "public.t"] == [
        (1, {"id": 1, "a": "x"}),
        (1, {"id": 2, "a": "z"}),
    ]


@on()
def test_P23_a_rewrite_with_a_volatile_default_sends_no_rows(capture: OpenCapture) -> None:
    """TAP 006: a rewrite is no change of rows; what it filled in shows at their next update."""
    stream = capture(TABLE, "INSERT INTO t VALUES (1, 'x')")
    stream.sql("ALTER TABLE t ADD b double precision DEFAULT random()", "UPDATE t SET a = 'y'")
    (seen,) = stream.read()
    assert seen.after and seen.after["a"] == "y" and 0 <= seen.after["b"] < 1


@on()
def test_P23_a_failed_change_of_shape_leaves_the_version(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.transaction(
        "INSERT INTO t VALUES (1, 'x')",
        "SAVEPOINT s",
        "ALTER TABLE t ADD b int",
        "INSERT INTO t VALUES (2, 'x', 2)",
        "ROLLBACK TO s",
        "INSERT INTO t VALUES (3, 'x')",
    )
    assert shapes(stream.read()) == [(1, {"id": 1, "a": "x"}), (1, {"id": 3, "a": "x"})]


@on()
def test_P23_a_renamed_table_goes_on_under_its_new_name(capture: OpenCapture) -> None:
    """The publication holds the table, not its name; what was written before keeps the old name, also with a backlog."""
    stream = capture(TABLE)
    stream.transaction("INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (2, 'x')")
    stream.stop()
    stream.sql("UPDATE u SET a = 'y' WHERE id = 1", "CREATE SCHEMA s", "ALTER TABLE u SET SCHEMA s")
    stream.sql("UPDATE s.u SET a = 'z' WHERE id = 1")
    stream.start(CDC_TABLES="public.*,marker.seen,s.*")
    assert [(s.topic, s.table, s.version) for s in stream.read()] == [
        ("t.public.t", "public.t", 1),
        ("t.public.u", "public.u", 1),
        ("t.public.u", "public.u", 1),
        ("t.s.u", "s.u", 1),
    ]


@on()
def test_P23_two_tables_that_swap_their_names(capture: OpenCapture) -> None:
    stream = capture(TABLE, "CREATE TABLE u (id bigint PRIMARY KEY, z int)")
    stream.transaction(
        "INSERT INTO t VALUES (1, 'x')",
        "INSERT INTO u VALUES (1, 1)",
        "ALTER TABLE t RENAME TO w",
        "ALTER TABLE u RENAME TO t",
        "ALTER TABLE w RENAME TO u",
        "INSERT INTO t VALUES (2, 2)",
        "INSERT INTO u VALUES (2, 'y')",
    )
    assert [(s.table, s.version, s.after) for s in stream.read()] == [
        ("public.t", 1, {"id": 1, "a": "x"}),
        ("public.u", 1, {"id": 1, "z": 1}),
        ("public.t", 2, {"id": 2, "z": 2}),
        ("public.u", 2, {"id": 2, "a": "y"}),
    ]


@on()
def test_P23_dropped_and_made_again(capture: OpenCapture) -> None:
    """Another table of the same name: it joins by itself, and goes on counting the versions of that name."""
    stream = capture(TABLE)
    stream.sql("INSERT INTO t VALUES (1, 'x')")
    stream.transaction("DELETE FROM t", "DROP TABLE t")
    stream.sql("CREATE TABLE t (id int PRIMARY KEY, z int)")
    stream.await_published("public.t")
    stream.sql("INSERT INTO t VALUES (2, 3)")
    assert [(s.op, s.version, s.after) for s in stream.changes()] == [
        ("c", 1, {"id": 1, "a": "x"}),
        ("d", 1, None),
        ("c", 2, {"id": 2, "z": 3}),
    ]


@on()
def test_P23_more_columns_than_before_and_as_many_as_there_may_be(capture: OpenCapture) -> None:
    """TAP 008's subject from our side: nothing is compared with a target, every column of the log is told."""
    columns = ", ".join(f"c{i} int" for i in range(1500))
    stream = capture("CREATE TABLE wide (id int PRIMARY KEY)")
    stream.sql(f"ALTER TABLE wide {', '.join('ADD ' + c for c in columns.split(', '))}")
    stream.sql("INSERT INTO wide (id, c1499) VALUES (1, 7)")
    (seen,) = stream.read()
    assert seen.after and len(seen.after) == 1501
    assert (seen.after["c0"], seen.after["c1499"]) == (None, 7)


@on()
def test_P23_a_table_without_columns(capture: OpenCapture) -> None:
    stream = capture("CREATE TABLE nothing ()", "ALTER TABLE nothing REPLICA IDENTITY FULL")
    stream.sql("INSERT INTO nothing DEFAULT VALUES", "ALTER TABLE nothing ADD a int", "INSERT INTO nothing VALUES (1)")
    assert [(s.op, s.key, s.after) for s in stream.read()] == [("c", None, {}), ("c", None, {"a": 1})]
