"""What stands in a column, where that hangs on more than its type: settings, encodings, generation, user-defined types.

Subjects of PostgreSQL's own subscription tests 002, 005, 011 and 012. The types themselves are tested elsewhere.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.postgres.stream import OpenCapture, Seen, on, on_every_version

TELLING = (
    "CREATE TABLE t (id int PRIMARY KEY, day date, at timestamp, tz timestamptz, span interval, raw bytea, f4 real, f8 double "
    "precision, cash money, word text, class regclass, kind regtype, list timestamptz[], period tstzrange)"
)
ROW = (
    "INSERT INTO public.t VALUES ({}, '2024-02-29', '2024-02-29 13:14:15.5', '2024-02-29 13:14:15+02', '1 year 2 days 03:04:05', "
    "'\\x00ff5c', 0.1, 1e15 / 3, '1234.5', 'é''\\\"', 'public.t', 'public.t', ARRAY['2024-02-29 13:14:15+02'::timestamptz], "
    "'[2024-02-29 13:14:15+02,)')"
)
SETTINGS = {
    "DateStyle": "'German, DMY'",
    "IntervalStyle": "'sql_standard'",
    "TimeZone": "'Asia/Kathmandu'",
    "bytea_output": "'escape'",
    "extra_float_digits": "-10",
    "lc_monetary": "'C.UTF-8'",
    "client_encoding": "'LATIN1'",
    "search_path": "public, pg_catalog",
    "quote_all_identifiers": "on",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "'serializable'",
    "statement_timeout": "'1ms'",
    "lock_timeout": "'1ms'",
    "standard_conforming_strings": "off",
    "escape_string_warning": "on",
    "row_security": "off",
    "check_function_bodies": "off",
    "synchronous_commit": "off",
    "lc_messages": "'C'",
    "client_min_messages": "'error'",
    "work_mem": "'64kB'",
}


def row(seen: Seen) -> dict[str, Any]:
    assert seen.after
    return {name: value for name, value in seen.after.items() if name != "id"}


@on(13, 18)
@pytest.mark.parametrize("level", ["database", "role", "role in database"])
def test_P51_settings_of_role_and_database_change_no_event(capture: OpenCapture, level: str) -> None:
    stream = capture(TELLING)
    stream.sql(ROW.format(1))
    (plain,) = stream.read()
    stream.stop()
    role = f"set_{stream.database}"
    stream.sql(f"CREATE ROLE {role} SUPERUSER LOGIN")
    who = {
        "database": f"DATABASE {stream.database}",
        "role": f"ROLE {role}",
        "role in database": f"ROLE {role} IN DATABASE {stream.database}",
    }[level]
    stream.sql(*(f"ALTER {who} SET {name} = {value}" for name, value in SETTINGS.items()))
    try:
        stream.start(CDC_SOURCE=stream.server.dsn(stream.database, role))
        stream.sql(ROW.format(2))
        (set_,) = stream.read()
        assert row(set_) == row(plain)
        assert row(plain)["tz"] == "2024-02-29T11:14:15Z"
        assert row(plain)["cash"] == "1234.50"
        stream.sql("CREATE TABLE joins (id int PRIMARY KEY)")
        stream.await_published("public.joins")
        stream.stop()
    finally:
        stream.sql(f"ALTER DATABASE {stream.database} RESET ALL", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@on(13, 18)
def test_P25_stored_generated_columns(capture: OpenCapture) -> None:
    """In the stream from 18 on, where our publication asks for them; before, the log's tuples do not show them."""
    stream = capture(
        "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, a text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
    )
    stream.sql("INSERT INTO t (id, a) VALUES (1, 'x')", "UPDATE t SET id = 3", "DELETE FROM t")
    twice = {1: {"twice": 2}, 3: {"twice": 6}} if stream.server.version >= 18 else {1: {}, 3: {}}
    one, three = {"id": 1, **twice[1], "a": "x"}, {"id": 3, **twice[3], "a": "x"}
    assert [(s.op, s.before, s.after) for s in stream.changes()] == [
        ("c", None, one),
        ("d", one, None),
        ("c", None, three),
        ("d", three, None),
    ]


@on(18, since=18)
def test_P25_generated_columns_nobody_asked_for(capture: OpenCapture) -> None:
    """An operator's publication without the option, and virtual columns, which are stored nowhere."""
    stream = capture(
        "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, "
        "thrice int GENERATED ALWAYS AS (id * 3) VIRTUAL)",
        "CREATE PUBLICATION cdc_t FOR TABLE t, marker.seen",
        CDC_POSTGRES_CREATE="slot",
    )
    stream.sql("INSERT INTO t VALUES (1)", "ALTER PUBLICATION cdc_t SET (publish_generated_columns = stored)")
    stream.sql("INSERT INTO t VALUES (2)", "ALTER TABLE t ALTER twice DROP EXPRESSION", "INSERT INTO t VALUES (3, 0)")
    assert [(s.version, s.after) for s in stream.read()] == [
        (1, {"id": 1}),
        (2, {"id": 2, "twice": 4}),
        (2, {"id": 3, "twice": 0}),
    ]


@on(13, 18)
def test_P25_an_expression_that_is_dropped_brings_the_column(capture: OpenCapture) -> None:
    stream = capture("CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    stream.sql("INSERT INTO t VALUES (1)", "ALTER TABLE t ALTER twice DROP EXPRESSION", "INSERT INTO t VALUES (2, 7)")
    first, second = stream.read()
    assert second.after == {"id": 2, "twice": 7}
    assert (first.version, second.version) == ((1, 1) if stream.server.version >= 18 else (1, 2))


@on_every_version()
def test_P24_enum_labels_added_and_renamed(capture: OpenCapture) -> None:
    """Each row has the label of its own time, also from a backlog; an enum's array as well."""
    stream = capture("CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE TABLE t (id int PRIMARY KEY, m mood, l mood[])")
    stream.sql("INSERT INTO t VALUES (1, 'ok', '{sad,ok}')")
    assert [s.after for s in stream.read()] == [{"id": 1, "m": "ok", "l": ["sad", "ok"]}]
    stream.stop()
    stream.sql(
        "INSERT INTO t VALUES (2, 'ok', '{}')",
        "ALTER TYPE mood ADD VALUE 'so, \"so\"' BEFORE 'ok'",
        "INSERT INTO t VALUES (3, 'so, \"so\"', ARRAY['so, \"so\"', 'sad']::mood[])",
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
        "INSERT INTO t VALUES (4, 'fine', '{fine}')",
        "ALTER TYPE mood RENAME TO feeling",
        "INSERT INTO t VALUES (5, 'sad', '{sad}')",
    )
    stream.start()
    seen = stream.read()
    assert [(s.after or {})["m"] for s in seen] == ["ok", 'so, "so"', "fine", "sad"]
    assert [(s.after or {})["l"] for s in seen] == [[], ['so, "so"', "sad"], ["fine"], ["sad"]]
    assert {s.version for s in seen} == {1}


@on()
def test_P24_one_type_name_in_two_schemas(capture: OpenCapture) -> None:
    stream = capture(
        "CREATE SCHEMA s",
        "CREATE TYPE kind AS ENUM ('a')",
        "CREATE TYPE s.kind AS (n int, w text)",
        "CREATE TABLE t (id int PRIMARY KEY, one kind, two s.kind, both_ s.kind[])",
    )
    stream.sql("INSERT INTO t VALUES (1, 'a', (7, 'x'), ARRAY[(8, NULL)::s.kind])")
    after = {"id": 1, "one": "a", "two": {"n": 7, "w": "x"}, "both_": [{"n": 8, "w": None}]}
    assert [s.after for s in stream.read()] == [after]
    stream.stop()
    stream.sql("INSERT INTO t SELECT 2, one, two, both_ FROM t", "ALTER TABLE t DROP one", "DROP TYPE kind")
    stream.sql("CREATE TYPE kind AS (q int)", "ALTER TABLE t ADD one kind", "UPDATE t SET one = ROW(5) WHERE id = 2")
    stream.start()
    assert [(s.version, (s.after or {})["one"]) for s in stream.read()] == [(1, "a"), (2, {"q": 5})]


@on()
def test_P24_a_type_made_under_way_and_gone_when_it_is_read(capture: OpenCapture) -> None:
    """Nobody can say any more what it was made of: its text is told, never nothing."""
    stream = capture("CREATE TABLE t (id int PRIMARY KEY)")
    stream.sql("CREATE TYPE pair AS (x int, y text)", "ALTER TABLE t ADD p pair", "INSERT INTO t VALUES (1, (1, 'a'))")
    assert [s.after for s in stream.read()] == [{"id": 1, "p": {"x": 1, "y": "a"}}]
    stream.stop()
    stream.sql("CREATE TYPE gone AS (x int)", "ALTER TABLE t ADD g gone", "INSERT INTO t VALUES (2, NULL, ROW(5))")
    stream.sql("ALTER TABLE t DROP g", "DROP TYPE gone")
    stream.start()
    assert [(s.after or {})["g"] for s in stream.read()] == ["(5)"]


@on()
def test_P24_a_composite_type_that_grows_never_shifts_its_fields(capture: OpenCapture) -> None:
    stream = capture("CREATE TYPE pair AS (x int, y text)", "CREATE TABLE t (id int PRIMARY KEY, p pair)")
    stream.sql(
        "INSERT INTO t VALUES (1, (1, 'a'))",
        "ALTER TYPE pair ADD ATTRIBUTE z int",
        "INSERT INTO t VALUES (2, (1, 'a', 9))",
    )
    one, two = ((s.after or {})["p"] for s in stream.read())
    assert one in ("(1,a)", {"x": 1, "y": "a"}), "as the type was when it was asked about"
    assert two in ("(1,a,9)", {"x": 1, "y": "a", "z": 9})


LATIN1 = "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
SQL_ASCII = "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"


@on()
def test_P44_a_latin1_database_is_told_in_utf8(capture: OpenCapture) -> None:
    stream = capture(
        'CREATE TABLE "tä" (id int PRIMARY KEY, "ö" text, l text[], "c" char(3))',
        "CREATE TYPE m AS ENUM ('grün'); ALTER TABLE \"tä\" ADD e m",
        database=LATIN1,
    )
    stream.sql("INSERT INTO \"tä\" VALUES (1, 'é¿ÿ', ARRAY['ü'], 'ß', 'grün')")
    (seen,) = stream.read()
    assert seen.source["table"] == "tä"
    assert seen.after == {"id": 1, "ö": "é¿ÿ", "l": ["ü"], "c": "ß  ", "e": "grün"}


@on(13, 18)
@pytest.mark.parametrize("column", ["text", "varchar(10)", "text[]"])
def test_P44_bytes_that_are_no_text_halt_and_nothing_after_them_is_sent(capture: OpenCapture, column: str) -> None:
    stream = capture(f"CREATE TABLE t (id int PRIMARY KEY, a {column})", database=SQL_ASCII)
    value = "E'{\\xe9}'" if column == "text[]" else "E'\\xe9'"
    good = "'{é}'" if column == "text[]" else "'é'"
    stream.sql(f"INSERT INTO t VALUES (1, {good})")
    assert [(s.after or {})["a"] for s in stream.read()] == [["é"] if column == "text[]" else "é"]
    stream.sql(f"INSERT INTO t VALUES (2, {value})", "INSERT INTO t VALUES (3, NULL)")
    failure = stream.halted()
    assert (getattr(failure, "fault", ""), int(getattr(failure, "exit_code", 0))) == ("invalid-encoding", 4)
    assert "public.t" in str(failure) and "column a" in str(failure)
    assert "\\xe9" not in str(failure) and "\udce9" not in str(failure)
    assert [s.key for s in stream.taken()] == []


@on()
def test_P44_bytes_that_are_no_text_as_base64_when_asked_for(capture: OpenCapture) -> None:
    """The whole value is, also where only an element is no text."""
    stream = capture(
        "CREATE TABLE t (id int PRIMARY KEY, a text, raw bytea, l text[])",
        database=SQL_ASCII,
        CDC_INVALID_TEXT="base64",
    )
    stream.sql(
        "INSERT INTO t VALUES (1, E'\\xe9', '\\xe9', E'{\\xe9}')", "INSERT INTO t VALUES (2, 'é', '\\xc3a9', '{é}')"
    )
    assert [s.after for s in stream.read()] == [
        {"id": 1, "a": "6Q==", "raw": "6Q==", "l": "e+l9"},
        {"id": 2, "a": "é", "raw": "w6k=", "l": ["é"]},
    ]


@on()
def test_P44_a_character_that_utf8_does_not_have_halts_and_its_bytes_are_not_logged(capture: OpenCapture) -> None:
    """Here the server converts, and gives up: 0x81 means nothing in WIN1252."""
    stream = capture("CREATE TABLE t (id int PRIMARY KEY, a text)", database=LATIN1.replace("LATIN1", "WIN1252"))
    stream.sql("SET client_encoding = 'WIN1252'", "INSERT INTO t VALUES (1, E'\\x81')", "SET client_encoding = 'UTF8'")
    failure = stream.halted()
    assert (getattr(failure, "fault", ""), int(getattr(failure, "exit_code", 0))) == ("invalid-encoding", 4)
    assert "81" not in str(failure)


@on()
def test_P45_text_that_json_must_escape(capture: OpenCapture) -> None:
    """TAP 005's subject: what goes in comes out, whatever stands between."""
    text = "".join(map(chr, [*range(1, 0x20), *map(ord, '"\\/ \x7f\x80\u2028\ufeff\uffff\U0001f418')]))
    stream = capture("CREATE TABLE t (id text PRIMARY KEY, l text[], j jsonb)")
    stream.connection.execute("INSERT INTO t VALUES (%s, %s, to_jsonb(%s::text))", (text, [text, "NULL", ""], text))
    (seen,) = stream.read()
    assert seen.key == {"id": text}
    assert seen.after and (seen.after["id"], seen.after["l"]) == (text, [text, "NULL", ""])


@on()
def test_P45_collations_do_not_matter(capture: OpenCapture) -> None:
    """TAP 012's subject: keys that some collation calls equal are two keys all the same."""
    stream = capture(
        'CREATE TABLE t (a text COLLATE "C" PRIMARY KEY, b text COLLATE "POSIX")',
    )
    stream.sql("INSERT INTO t VALUES ('e\u0301', 'x')", "UPDATE t SET a = '\u00e9'", "UPDATE t SET a = a, b = 'y'")
    assert [(s.op, s.key) for s in stream.changes()] == [
        ("c", {"a": "e\u0301"}),
        ("d", {"a": "e\u0301"}),
        ("c", {"a": "\u00e9"}),
        ("u", {"a": "\u00e9"}),
    ]
