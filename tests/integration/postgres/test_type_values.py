"""What a real server prints, read by us, against what it must mean.

A value goes in through the type's input function and comes back through its output function, which is what pgoutput sends.
What must come out is never computed by the code under test: it follows from the generated Python value, and where the server
has another way to say it (to_char, encode, to_json, row_to_json), from that as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc.model.types import LogicalType
from cdc_postgres.types import (
    CATALOG_QUERY,
    TypeCatalog,
    TypeInfo,
    column_for,
    parse_catalog_rows,
    reader_for,
)
from cdc_postgres.types.catalog import BUILT_IN
from tests.integration.postgres.type_cases import CASES, GENERATED_LISTS, LABELS, cases_on, setup_statements
from tests.integration.postgres.type_samples import (
    JSON_SHAPED,
    NUMBERS,
    Sample,
    TypeCase,
    Values,
    array_text,
    in_twos,
    iso,
    keeps_its_shape,
    meaning,
    parse_json,
)
from tests.servers.catalogue import postgres_versions
from tests.servers.postgres import PostgresServer

SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "client_encoding": "UTF8",
}
_numbers = count()
ODD_NAME = 'odd "name", \\'


@dataclass(frozen=True)
class Session:
    """A pinned session in a database of its own, with a row type for every case and the catalog that we read of it."""

    connection: psycopg.Connection[Any]
    version: int
    catalog: dict[int, TypeInfo]
    oids: dict[str, int]

    def query(self, sql: str, *params: str) -> list[list[bytes | None]]:
        """Rows of the server's text, byte for byte."""
        result = self.connection.pgconn.exec_params(sql.encode(), [param.encode() for param in params])
        assert not result.error_message, result.error_message.decode()
        return [[result.get_value(row, i) for i in range(result.nfields)] for row in range(result.ntuples)]

    def read(self, type_name: str, text: bytes | None) -> bytes:
        assert text is not None
        reader = reader_for(self.oids[type_name], -1, self.catalog)
        return text if reader is None else reader(text)

    def read_json(self, type_name: str, text: bytes | None) -> Any:
        return parse_json(self.read(type_name, text))


def names_of(index: int) -> tuple[str, str, str, str]:
    """The types made around case `index`: a row, a row of rows, a domain over its array, and a domain over the type."""
    return f"cases.row_{index}", f"cases.nest_{index}", f"cases.list_{index}", f"cases.dom_{index}"


def around(index: int, case: TypeCase) -> list[str]:
    row, nest, listed, domain = names_of(index)
    return [
        f'CREATE TYPE {row} AS (plain {case.sql}, nothing {case.sql}, "odd ""name"", \\" text, listed {case.sql}[])',
        f"CREATE TYPE {nest} AS (inside {row}, many {row}[])",
        f"CREATE DOMAIN {listed} AS {case.sql}[]",
        f"CREATE DOMAIN {domain} AS {case.sql}",
    ]


@contextmanager
def open_session(server: PostgresServer) -> Iterator[Session]:
    database = f"types_{next(_numbers)}"  # a module's fixture may be set up again when tests run in another order
    wanted = cases_on(server.version)
    statements = setup_statements(server.version)
    statements += [statement for case in wanted for statement in around(CASES.index(case), case)]
    with psycopg.connect(server.create_database(database), autocommit=True) as connection:
        for setting, value in SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", [setting, value])
        connection.execute(";\n".join(statements).encode())
        oids = read_oids(connection, wanted)
        session = Session(connection, server.version, {}, oids)
        session.catalog.update(read_catalog(session, oids.values()))
        yield session


def read_oids(connection: psycopg.Connection[Any], wanted: Sequence[TypeCase]) -> dict[str, int]:
    """The OIDs of each case, the types made around it, and the arrays of all these."""
    plain = [name for case in wanted for name in (case.sql, *names_of(CASES.index(case)))]
    names = [*plain, *(f"{name}[]" for name in plain)]
    shown = ",".join(f"pg_typeof(NULL::{name})::oid" for name in names)
    ((numbers,),) = connection.execute(f"SELECT ARRAY[{shown}]".encode()).fetchall()
    return dict(zip(names, map(int, numbers), strict=True))


def read_catalog(session: Session, oids: Any) -> dict[int, TypeInfo]:
    unknown = [oid for oid in oids if TypeCatalog({}).lookup(oid) is None]
    rows = session.query(CATALOG_QUERY, "{" + ",".join(map(str, unknown)) + "}")
    return parse_catalog_rows([[row[0] or b""] for row in rows])


@pytest.fixture(scope="session")
def newest(postgres: PostgresServer) -> Iterator[Session]:
    with open_session(postgres) as session:
        yield session


@pytest.fixture(scope="module")
def every(every_postgres: PostgresServer) -> Iterator[Session]:
    with open_session(every_postgres) as session:
        yield session


# What must come back


def check_alone(session: Session, case: TypeCase, values: Sequence[Sample], second_opinion: bool) -> None:
    opinion = f"({case.server})" if case.server and second_opinion else "NULL"
    sql = f"""SELECT v, {opinion} FROM (
        SELECT list[i] AS v, i FROM (SELECT $1::{case.sql}[] AS list) AS given, generate_subscripts(list, 1) AS i
        ) AS each ORDER BY i"""
    rows = session.query(sql, array_text(values, case.delimiter))
    assert len(rows) == len(values)
    for sample, (text, other) in zip(values, rows, strict=True):
        found = session.read(case.sql, text)
        if case.logical in NUMBERS or case.logical in JSON_SHAPED:
            assert iso(case.logical, found) == iso(case.logical, sample.canonical)
        else:
            assert found == sample.canonical
        if other is not None:
            assert case.seen(found) == other.decode()


def check_arrays(session: Session, case: TypeCase, values: Sequence[Sample]) -> None:
    flat: Values = [None, *values, None]
    square = in_twos(flat)
    array, listed = f"{case.sql}[]", names_of(CASES.index(case))[2]
    bounded = f"[-1:{len(flat) - 2}]={array_text(flat, case.delimiter)}"
    sql = f"SELECT $1::{array}, $2::{array}, $3::{array}, array_to_json($2::{array}), $1::{listed}, $4::{array}"
    shown = (array_text(flat, case.delimiter), array_text(square, case.delimiter), bounded)
    ((one, two, three, servers, domain, deep),) = session.query(sql, *shown, array_text([[square]], case.delimiter))
    assert session.read_json(array, one) == session.read_json(array, three) == meaning(case, flat)
    assert session.read_json(listed, domain) == meaning(case, flat)
    assert session.read_json(array, two) == meaning(case, square)
    assert session.read_json(array, deep) == [[meaning(case, square)]]
    if case.server_json and servers is not None:
        assert session.read_json(array, two) == parse_json(servers)


def check_fields(session: Session, case: TypeCase, values: Sequence[Sample]) -> None:
    row, nest, _, domain = names_of(CASES.index(case))
    sql = f"""WITH given AS (SELECT ROW($1::{case.sql}, NULL, $2, $3::{case.sql}[])::{row} AS r)
        SELECT r, ROW(r, ARRAY[r, NULL, r])::{nest}, ARRAY[[r], [r]], row_to_json(r), $4::{domain}[] FROM given"""
    flat: Values = [*values, None]
    shown = array_text(flat, case.delimiter)
    two = array_text([values[0], None], case.delimiter)
    ((one, nested, many, servers, domains),) = session.query(sql, values[0].literal, 'a "b",\\', shown, two)
    expected = {
        "plain": meaning(case, values[0]),
        "nothing": None,
        ODD_NAME: 'a "b",\\',
        "listed": meaning(case, flat),
    }
    assert session.read_json(row, one) == expected
    assert session.read_json(nest, nested) == {"inside": expected, "many": [expected, None, expected]}
    assert session.read_json(f"{row}[]", many) == [[expected], [expected]]
    assert session.read_json(f"{domain}[]", domains) == [meaning(case, values[0]), None]
    if case.server_json and servers is not None:
        assert session.read_json(row, one) == parse_json(servers)


def check_generated(session: Session, case: TypeCase, lists: int, second_opinion: bool) -> None:
    @settings(max_examples=lists, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(case.values, min_size=1, max_size=12))
    def check(values: list[Sample]) -> None:
        check_alone(session, case, values, second_opinion)
        check_arrays(session, case, values)
        check_fields(session, case, values)

    check()


@pytest.mark.parametrize("case", cases_on(max(postgres_versions())), ids=lambda case: case.sql)
def test_generated_values(newest: Session, case: TypeCase) -> None:
    check_generated(newest, case, GENERATED_LISTS["newest"], second_opinion=True)


def test_generated_values_on_each_server(every: Session) -> None:
    for case in cases_on(every.version):
        # Older servers have no opinion on every date: their extract goes by way of a timestamp.
        check_generated(every, case, GENERATED_LISTS["each"], second_opinion=False)


def test_edges(every: Session) -> None:
    for case in cases_on(every.version):
        values = case.edges_on(every.version)
        check_alone(every, case, values, second_opinion=False)
        fit = [value for value in values if keeps_its_shape(case, value)]
        check_arrays(every, case, fit)
        check_fields(every, case, fit)


def test_columns(every: Session) -> None:
    for case in cases_on(every.version):
        row, *_ = names_of(CASES.index(case))
        alone = column_for("c", every.oids[case.sql], -1, every.catalog)
        array = column_for("c", every.oids[f"{case.sql}[]"], -1, every.catalog)
        assert (case.sql, alone.type, alone.type_name == "") == (case.sql, case.logical, False)
        assert (array.type, array.element, array.type_name) == (LogicalType.ARRAY, case.logical, f"{alone.type_name}[]")
        assert column_for("c", every.oids[row], -1, every.catalog).type_name == row


def test_built_in_table_is_the_servers(every: Session) -> None:
    """All but typcategory, which changed for "char" in version 15 and decides nothing here."""
    rows = every.query(
        """SELECT t.oid, typname, typtype, typdelim,
            CASE WHEN typoutput = 'array_out'::regproc THEN typelem ELSE 0 END
        FROM pg_type AS t WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND t.oid < 10000
            AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.oid = t.typelem AND e.typtype NOT IN ('b', 'r', 'm'))"""
    )
    assert len(rows) > 140
    for oid, *found in rows:
        info = BUILT_IN[int(oid or b"")]
        shown = [info.name, info.kind, info.delimiter, str(info.element)]
        assert shown == [(value or b"").decode() for value in found]


def test_catalog_survives_the_checkpoint_and_a_hostile_search_path(every: Session) -> None:
    shadows = "CREATE SCHEMA shadow; CREATE TABLE shadow.pg_type (oid int); CREATE TYPE shadow.oid AS (n int)"
    every.connection.execute(f"{shadows}; SET search_path = shadow, pg_catalog".encode())
    try:
        again = read_catalog(every, every.oids.values())
    finally:
        every.connection.execute(b"RESET search_path; DROP SCHEMA shadow CASCADE")
    assert again == every.catalog
    stored = json.dumps({oid: info.to_json() for oid, info in again.items()})
    assert {int(oid): TypeInfo.from_json(info) for oid, info in json.loads(stored).items()} == every.catalog


def test_what_the_catalog_knows(newest: Session) -> None:
    def known(name: str) -> TypeInfo:
        return newest.catalog[newest.oids[name]]

    assert known("cases.mood").labels == LABELS
    assert known("cases.pair").fields == (("n", 23, -1), (ODD_NAME, 25, -1))
    assert known("cases.positive").base == 1700
    assert known("cases.positive").base_modifier == (12 << 16 | 2) + 4
    assert known("cases.narrow").base == newest.oids["cases.positive"]
    assert known("cases.textrange").range_subtype == known("cases.wordmultirange").range_subtype == 25
    assert known("cases.geometry[]").delimiter == ":"
    assert known("cases.pair[]").element == newest.oids["cases.pair"]
    assert column_for("c", newest.oids["cases.narrow[]"], -1, newest.catalog).scale == 2


def test_rows_of_tables_are_types_too(newest: Session) -> None:
    newest.connection.execute(
        b"CREATE TABLE cases.whole (a int, b cases.mood[], gone int); ALTER TABLE cases.whole DROP gone"
    )
    ((oid,),) = newest.query("SELECT 'cases.whole[]'::regtype::oid")
    catalog = read_catalog(newest, [int(oid or b"")])
    reader = reader_for(int(oid or b""), -1, catalog)
    ((text,),) = newest.query("SELECT ARRAY[ROW(1, ARRAY['so, so', NULL])]::cases.whole[]")
    assert reader is not None and text is not None
    assert reader(text) == b'[{"a":1,"b":["so, so",null]}]'


def test_type_that_changed_after_its_shape_was_kept(newest: Session) -> None:
    newest.connection.execute(b"CREATE TYPE cases.changing AS (a int, b text)")
    ((oid,),) = newest.query("SELECT 'cases.changing'::regtype::oid")
    reader = reader_for(int(oid or b""), -1, read_catalog(newest, [int(oid or b"")]))
    assert reader is not None
    for change, value, expected in [
        ("ADD ATTRIBUTE c int", "ROW(1, 'x', 2)", b'"(1,x,2)"'),
        ("DROP ATTRIBUTE c", "ROW(1, 'x')", b'{"a":1,"b":"x"}'),
        ("ALTER ATTRIBUTE a TYPE text", "ROW('one', 'a \"b\"')", rb'"(one,\"a \"\"b\"\"\")"'),
    ]:
        newest.connection.execute(f"ALTER TYPE cases.changing {change}".encode())
        ((text,),) = newest.query(f"SELECT {value}::cases.changing")
        assert reader(text or b"") == expected
