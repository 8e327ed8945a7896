"""Names that need quoting, on the server and in topics (P45, S14, S15)."""

from __future__ import annotations

import pytest
from psycopg import sql

from tests.integration.postgres.stream import OpenCapture, on

LONG = "n" * 63
NAMES = (
    'with "quotes"',
    "it's",
    "with space",
    "dots.in.it",
    "Upper",
    "upper",
    "1digit",
    "back\\slash",
    "per%cent {brace}",
    "select",
    "tab\tand\nline",
    "🐘",
    "Ünï-cödé",
    LONG,
)


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


@on()
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_P45_hostile_names_of_schema_table_and_columns(capture: OpenCapture, name: str) -> None:
    """As schema, table, key column and column at once; selected by wildcard; a new one of that kind joins too."""
    one = quoted(name)
    stream = capture(
        f"CREATE SCHEMA {one}",
        f"CREATE TABLE {one}.{one} ({one} int PRIMARY KEY, {quoted('z' + name[:50])} text)",
        f"ALTER TABLE {one}.{one} REPLICA IDENTITY FULL",
        CDC_TABLES="*.*",
    )
    stream.sql(f"INSERT INTO {one}.{one} VALUES (1, 'x')", f"DELETE FROM {one}.{one}")
    row = {name: 1, "z" + name[:50]: "x"}
    created, deleted, tombstone = stream.read()
    assert (created.key, created.after) == ({name: 1}, row)
    assert (deleted.before, tombstone.key) == (row, {name: 1})
    assert (created.source["schema"], created.source["table"]) == (name, name)
    legal = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    assert {s.topic for s in (created, deleted, tombstone)} == {f"t.{legal}.{legal}"}
    stream.restart()
    stream.sql(f"INSERT INTO {one}.{one} VALUES (2, 'x')")
    assert [s.version for s in stream.read()] == [1]


@on()
def test_P45_a_table_named_literally(capture: OpenCapture) -> None:
    stream = capture(
        'CREATE SCHEMA "a,b"',
        'CREATE TABLE "a,b"."it""s.*" (id int PRIMARY KEY)',
        'CREATE TABLE "a,b"."it""s.x" (id int PRIMARY KEY)',
        CDC_TABLES='"a,b"."it""s.*",marker.seen',
    )
    stream.sql('INSERT INTO "a,b"."it""s.x" VALUES (1)', 'INSERT INTO "a,b"."it""s.*" VALUES (2)')
    assert [s.topic for s in stream.read()] == ["t.a_b.it_s._"]
    assert stream.published() == {'a,b.it"s.*'}


@on()
def test_P45_names_that_differ_only_in_case(capture: OpenCapture) -> None:
    stream = capture('CREATE TABLE "T" (id int PRIMARY KEY, "A" int, a int)', "CREATE TABLE t (id int PRIMARY KEY)")
    stream.sql('INSERT INTO "T" VALUES (1, 2, 3)', "INSERT INTO t VALUES (1)")
    assert [(s.topic, s.after) for s in stream.read()] == [
        ("t.public.T", {"id": 1, "A": 2, "a": 3}),
        ("t.public.t", {"id": 1}),
    ]


@on()
def test_P45_a_database_publication_and_slot_with_odd_names(capture: OpenCapture) -> None:
    stream = capture(
        "CREATE TABLE t (id int PRIMARY KEY)",
        CDC_NAME="Shop-1.x_Y",
        CDC_POSTGRES_PUBLICATION='it\'s "my", own',
        CDC_MESSAGE_TOPIC="{name}.msg",
    )
    stream.sql("INSERT INTO t VALUES (1)")
    (seen,) = stream.read()
    assert (seen.topic, seen.source["name"]) == ("Shop-1.x_Y.public.t", "Shop-1.x_Y")
    assert stream.sql("SELECT pubname FROM pg_publication") == [('it\'s "my", own',)]


@on()
@pytest.mark.parametrize(
    ("one", "two"),
    [("public.a b", "public.a_b"), ("public.é", "public.ü"), ("a|b.c", "a|b|c")],
    ids=["space", "letters", "dots"],
)
def test_S15_two_tables_on_one_topic_are_an_error_before_they_mix(capture: OpenCapture, one: str, two: str) -> None:
    """Schema a, table b.c and schema a.b, table c are two tables as well."""
    tables = [("a", "b.c"), ("a.b", "c")] if "|" in one else [tuple(name.split(".")) for name in (one, two)]
    made = [f"{quoted(schema)}.{quoted(table)}" for schema, table in tables]
    stream = capture(
        *(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}" for schema, _ in tables),
        *(f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in made),
        CDC_TABLES="*.*",
    )
    stream.sql(f"INSERT INTO {made[0]} VALUES (1)", f"INSERT INTO {made[1]} VALUES (2)")
    failure = stream.halted()
    assert getattr(failure, "fault", "") == "topic-collision"
    assert {(s.source["schema"], s.source["table"]) for s in stream.taken()} <= {tables[0]}


@on()
def test_S15_a_template_keeps_colliding_tables_apart(capture: OpenCapture) -> None:
    """Also in the checkpoint: each of them counts its own versions."""
    stream = capture(
        'CREATE SCHEMA a; CREATE SCHEMA "a.b"',
        'CREATE TABLE a."b.c" (id int PRIMARY KEY); CREATE TABLE "a.b".c (id int PRIMARY KEY, n int)',
        CDC_TABLES="*.*",
        CDC_TOPIC="{name}-{schema}-{table}",
    )
    for number in (1, 2):
        stream.sql(f'INSERT INTO a."b.c" VALUES ({number})', f'INSERT INTO "a.b".c VALUES ({number})')
        assert [(s.topic, s.version, s.value["transaction"]["data_collection_order"]) for s in stream.read()] == [
            ("t-a-b.c", 1, 1),
            ("t-a.b-c", 1, 1),
        ]
        stream.restart()
    stream.transaction('INSERT INTO a."b.c" VALUES (3)', 'INSERT INTO "a.b".c VALUES (3)')
    assert [s.value["transaction"]["data_collection_order"] for s in stream.read()] == [1, 1]
