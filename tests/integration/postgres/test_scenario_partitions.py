"""Partitions go by their root; heirs of old-style inheritance go by their own names (P26).

Subject of PostgreSQL's own subscription test 013.
"""

from __future__ import annotations

import pytest

from tests.integration.postgres.stream import OpenCapture, on, on_every_version

ROOT = "CREATE TABLE p (id int, n int, a text, PRIMARY KEY (id, n)) PARTITION BY RANGE (n)"
LOW = "CREATE TABLE low PARTITION OF p FOR VALUES FROM (0) TO (10)"
HIGH = "CREATE TABLE high PARTITION OF p FOR VALUES FROM (10) TO (100)"
# Another order of columns, and a hole where one was dropped.
TWISTED = (
    "CREATE TABLE high (a text, gone int, n int NOT NULL, id int NOT NULL)",
    "ALTER TABLE high DROP gone",
    "ALTER TABLE p ATTACH PARTITION high FOR VALUES FROM (10) TO (100)",
)


@on_every_version()
def test_P26_rows_come_under_the_name_and_shape_of_the_root(capture: OpenCapture) -> None:
    stream = capture(ROOT, LOW, *TWISTED)
    stream.sql(
        "INSERT INTO p VALUES (1, 1, 'low'), (2, 20, 'high')",
        "INSERT INTO high VALUES ('direct', 30, 3)",
        "UPDATE p SET a = 'x' WHERE n = 20",
        "UPDATE p SET n = n + 1 WHERE id = 3",
        "DELETE FROM p WHERE n = 20",
    )
    seen = stream.read()
    assert stream.published() == {"public.p"}
    assert {(s.topic, s.version) for s in seen if not s.tombstone} == {("t.public.p", 1)}
    assert [(s.op, s.key, s.tombstone or s.before, s.tombstone or s.after) for s in seen] == [
        ("c", {"id": 1, "n": 1}, None, {"id": 1, "n": 1, "a": "low"}),
        ("c", {"id": 2, "n": 20}, None, {"id": 2, "n": 20, "a": "high"}),
        ("c", {"id": 3, "n": 30}, None, {"id": 3, "n": 30, "a": "direct"}),
        ("u", {"id": 2, "n": 20}, None, {"id": 2, "n": 20, "a": "x"}),
        ("d", {"id": 3, "n": 30}, {"id": 3, "n": 30}, None),
        ("tombstone", {"id": 3, "n": 30}, True, True),
        ("c", {"id": 3, "n": 31}, None, {"id": 3, "n": 31, "a": "direct"}),
        ("d", {"id": 2, "n": 20}, {"id": 2, "n": 20}, None),
        ("tombstone", {"id": 2, "n": 20}, True, True),
    ]


@on(13, 15, 18)
def test_P26_a_row_that_moves_to_another_partition_is_a_delete_and_an_insert(capture: OpenCapture) -> None:
    stream = capture(ROOT, LOW, *TWISTED, "INSERT INTO p VALUES (1, 5, 'a')")
    stream.sql("UPDATE p SET n = 50")
    seen = stream.read()
    assert [(s.op, s.key) for s in seen] == [
        ("d", {"id": 1, "n": 5}),
        ("tombstone", {"id": 1, "n": 5}),
        ("c", {"id": 1, "n": 50}),
    ]
    assert seen[-1].after == {"id": 1, "n": 50, "a": "a"}
    assert len({s.value["transaction"]["id"] for s in seen if not s.tombstone}) == 1


@on(13, 18)
def test_P26_partitions_come_and_go_under_load(capture: OpenCapture) -> None:
    """A new one is heard of without anybody's doing; a detached one goes on as a table of its own, once it has joined."""
    stream = capture(ROOT, LOW)
    stream.sql("INSERT INTO p VALUES (1, 1)", *TWISTED, "INSERT INTO p VALUES (2, 20)")
    stream.transaction(
        "INSERT INTO p VALUES (3, 30)",
        "ALTER TABLE p DETACH PARTITION high",
        "CREATE TABLE newer PARTITION OF p FOR VALUES FROM (10) TO (100)",
        "INSERT INTO p VALUES (4, 40)",
    )
    assert [(s.topic, s.key) for s in stream.read()] == [
        ("t.public.p", {"id": n, "n": n * 10 if n > 1 else 1}) for n in (1, 2, 3, 4)
    ]
    stream.await_published("public.high")
    stream.sql("INSERT INTO high VALUES ('own', 50, 5)", "INSERT INTO p VALUES (6, 60)")
    assert [(s.topic, s.key) for s in stream.read()] == [
        ("t.public.high", {"id": 5, "n": 50}),
        ("t.public.p", {"id": 6, "n": 60}),
    ]


@on()
def test_P26_partitions_of_partitions(capture: OpenCapture) -> None:
    stream = capture(
        ROOT,
        "CREATE TABLE middle PARTITION OF p FOR VALUES FROM (0) TO (100) PARTITION BY LIST (n)",
        "CREATE TABLE leaf (n int NOT NULL, a text, id int NOT NULL)",
        "ALTER TABLE middle ATTACH PARTITION leaf FOR VALUES IN (1)",
    )
    stream.sql(
        "INSERT INTO p VALUES (1, 1, 'x')",
        "INSERT INTO middle VALUES (2, 1, 'x')",
        "UPDATE leaf SET a = 'y' WHERE id = 2",
    )
    assert [(s.table, s.op, s.after) for s in stream.read()] == [
        ("public.p", "c", {"id": 1, "n": 1, "a": "x"}),
        ("public.p", "c", {"id": 2, "n": 1, "a": "x"}),
        ("public.p", "u", {"id": 2, "n": 1, "a": "y"}),
    ]


@on()
def test_P26_the_roots_shape_changes(capture: OpenCapture) -> None:
    stream = capture(ROOT, LOW, *TWISTED)
    stream.transaction(
        "INSERT INTO p VALUES (1, 1, 'x')",
        "ALTER TABLE p ADD b int",
        "INSERT INTO p VALUES (2, 20, 'x', 2)",
        "ALTER TABLE p DROP a",
        "INSERT INTO p VALUES (3, 3, 3)",
        "INSERT INTO p VALUES (4, 40, 4)",
    )
    assert [(s.version, s.after) for s in stream.read()] == [
        (1, {"id": 1, "n": 1, "a": "x"}),
        (2, {"id": 2, "n": 20, "a": "x", "b": 2}),
        (3, {"id": 3, "n": 3, "b": 3}),
        (3, {"id": 4, "n": 40, "b": 4}),
    ]


@on()
def test_P26_only_one_partition_is_selected(capture: OpenCapture) -> None:
    """Nobody selected the root, so the partition goes by its own name."""
    stream = capture(ROOT, LOW, HIGH, CDC_TABLES="public.low,marker.seen")
    stream.sql("INSERT INTO p VALUES (1, 1), (2, 20)")
    assert [(s.topic, s.key) for s in stream.read()] == [("t.public.low", {"id": 1, "n": 1})]


@on()
def test_P26_by_leaf_when_the_operators_publication_says_so(capture: OpenCapture) -> None:
    stream = capture(
        ROOT, LOW, *TWISTED, "CREATE PUBLICATION cdc_t FOR TABLE p, marker.seen", CDC_POSTGRES_CREATE="slot"
    )
    stream.sql("INSERT INTO p VALUES (1, 1, 'x'), (2, 20, 'y')")
    assert [(s.topic, list((s.after or {}).items())) for s in stream.read()] == [
        ("t.public.low", [("id", 1), ("n", 1), ("a", "x")]),
        ("t.public.high", [("a", "y"), ("n", 20), ("id", 2)]),
    ]


@on()
def test_P40_truncate_of_a_partitioned_table_is_one_event_of_its_root(capture: OpenCapture) -> None:
    stream = capture(ROOT, LOW, HIGH)
    stream.sql("INSERT INTO p VALUES (1, 1)", "TRUNCATE p")
    assert [(s.op, s.table) for s in stream.read()] == [("c", "public.p"), ("t", "public.p")]


@on()
def test_P26_full_identity_of_the_leaves_is_theirs_not_the_roots(capture: OpenCapture) -> None:
    """The leaf's setting decides what is logged; the root's is what the log shows. Nothing that was not logged is told as null."""
    stream = capture(ROOT, LOW, HIGH, "ALTER TABLE low REPLICA IDENTITY FULL")
    stream.sql("INSERT INTO p VALUES (1, 1, 'x'), (2, 20, 'x')", "UPDATE p SET a = 'y'", "DELETE FROM p")
    seen = stream.changes()
    assert [(s.op, s.before) for s in seen if s.op != "c"] == [
        ("u", {"id": 1, "n": 1, "a": "x"}),
        ("u", None),
        ("d", {"id": 1, "n": 1, "a": "y"}),
        ("d", {"id": 2, "n": 20}),
    ]


@on(13, 18)
def test_P26_full_identity_of_the_root_alone(capture: OpenCapture) -> None:
    """The server then shows a leaf's old key as a whole old row with nulls: an untouched large value must not become one."""
    stream = capture(ROOT, LOW, "ALTER TABLE p REPLICA IDENTITY FULL", "ALTER TABLE p ALTER a SET STORAGE EXTERNAL")
    stream.sql("ALTER TABLE low ALTER a SET STORAGE EXTERNAL", "INSERT INTO p VALUES (1, 1, repeat('x', 9000))")
    stream.sql("UPDATE p SET id = 2", "DELETE FROM p")
    seen = stream.changes()
    assert [(s.op, (s.key or {})["id"]) for s in seen] == [("c", 1), ("d", 1), ("c", 2), ("d", 2)]
    assert (seen[2].after, seen[2].unchanged) == ({"id": 2, "n": 1}, ["a"])


@on()
def test_P26_inheritance_goes_by_the_heirs_name(capture: OpenCapture) -> None:
    stream = capture(
        "CREATE TABLE parent (id int PRIMARY KEY, a text)",
        "CREATE TABLE heir (extra int, PRIMARY KEY (id)) INHERITS (parent)",
    )
    stream.sql("INSERT INTO parent VALUES (1, 'x')", "INSERT INTO heir VALUES (2, 'x', 7)", "UPDATE parent SET a = 'y'")
    assert [(s.op, s.table, s.after) for s in stream.read()] == [
        ("c", "public.parent", {"id": 1, "a": "x"}),
        ("c", "public.heir", {"id": 2, "a": "x", "extra": 7}),
        ("u", "public.parent", {"id": 1, "a": "y"}),
        ("u", "public.heir", {"id": 2, "a": "y", "extra": 7}),
    ]


FILLED = "CREATE TABLE filled (LIKE p INCLUDING ALL)"
ATTACH = "ALTER TABLE p ATTACH PARTITION filled FOR VALUES FROM (10) TO (100)"
TOUCH = "ALTER PUBLICATION cdc_t SET (publish_via_partition_root = true)"


@on(15, 18, since=15)
def test_P26_a_table_that_was_written_to_becomes_a_partition(capture: OpenCapture) -> None:
    stream = capture(ROOT, LOW, FILLED)
    stream.sql("INSERT INTO filled VALUES (3, 30)", ATTACH, "UPDATE p SET a = 'x'", "INSERT INTO p VALUES (4, 40)")
    assert [(s.op, s.table, s.key) for s in stream.read()] == [
        ("c", "public.filled", {"id": 3, "n": 30}),
        ("u", "public.p", {"id": 3, "n": 30}),
        ("c", "public.p", {"id": 4, "n": 40}),
    ]


@on(13, 14, until=14)
@pytest.mark.parametrize("joined", [True, False])
def test_P26_before_15_attach_must_touch_the_publication(capture: OpenCapture, joined: bool) -> None:
    """Those servers go on publishing (or not publishing) a table that the stream has met as they did before it was attached.

    A change of the publication in the same transaction makes them look again.
    """
    selection = "public.p,marker.seen" + (",public.filled" if joined else "")
    stream = capture(ROOT, LOW, FILLED, CDC_TABLES=selection)
    stream.sql("INSERT INTO filled VALUES (3, 30)")
    stream.transaction(ATTACH, TOUCH)
    stream.sql("UPDATE p SET a = 'x'", "INSERT INTO p VALUES (4, 40)")
    assert [(s.op, s.key) for s in stream.read() if s.table == "public.p"] == [
        ("u", {"id": 3, "n": 30}),
        ("c", {"id": 4, "n": 40}),
    ]


@on(13, 14, until=14)
def test_P26_before_15_an_attach_without_it_is_noticed_and_put_right(capture: OpenCapture) -> None:
    """What was written in between is missing, so somebody must be told."""
    stream = capture(ROOT, LOW, FILLED)
    stream.await_looked()
    stream.sql("INSERT INTO filled VALUES (3, 30)", ATTACH, "INSERT INTO p VALUES (4, 40)")
    stream.await_logs(1, "partition-attached")
    stream.sql("INSERT INTO p VALUES (5, 50)")
    assert [(s.op, s.table, s.key) for s in stream.read()] == [
        ("c", "public.filled", {"id": 3, "n": 30}),
        ("c", "public.filled", {"id": 4, "n": 40}),
        ("c", "public.p", {"id": 5, "n": 50}),
    ]


@on(since=15)
def test_P26_what_the_log_does_not_tell_of_partitions(capture: OpenCapture) -> None:
    """Under the root's name a leaf cannot be emptied: TRUNCATE, DETACH and DROP of a leaf, and ATTACH of rows, leave no trace."""
    stream = capture(ROOT, LOW, HIGH, "INSERT INTO p VALUES (1, 1), (2, 20)")
    stream.transaction("TRUNCATE low", "ALTER TABLE p DETACH PARTITION high", "DROP TABLE high")
    stream.transaction(FILLED, "INSERT INTO filled VALUES (3, 30)", ATTACH, "UPDATE p SET a = 'x' WHERE id = 3")
    assert [(s.op, s.after) for s in stream.read()] == [("u", {"id": 3, "n": 30, "a": "x"})]
