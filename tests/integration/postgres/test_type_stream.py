"""Every type through real logical replication, on every version: the same table of cases as the plain queries, as a consumer reads it.

One table a case: the value alone, its array, its array of two dimensions, and a row type around it. A whole row comes by
INSERT, and as the old row of a DELETE under REPLICA IDENTITY FULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.integration.postgres.stream import OpenCapture, Stream, on_every_version
from tests.integration.postgres.type_cases import CASES, cases_on, setup_statements
from tests.integration.postgres.type_samples import (
    Sample,
    TypeCase,
    array_text,
    in_twos,
    keeps_its_shape,
    meaning,
    parse_json,
)

Image = dict[str, Any]


def table_of(case: TypeCase) -> str:
    return f"case_{CASES.index(case)}"


def create(case: TypeCase) -> list[str]:
    table, row = table_of(case), f"cases.row_{CASES.index(case)}"
    return [
        f"CREATE TYPE {row} AS (plain {case.sql}, listed {case.sql}[])",
        f"CREATE TABLE {table} (id int PRIMARY KEY, alone {case.sql}, listed {case.sql}[], square {case.sql}[], whole {row})",
        f"ALTER TABLE {table} REPLICA IDENTITY FULL",
    ]


def insert(stream: Stream, case: TypeCase, values: Sequence[Sample]) -> list[Image]:
    """A row for each value, the first with all of them in its containers, and one of NULLs; what must come out."""
    shaped = [value for value in values if keeps_its_shape(case, value)]
    images = []
    for i, value in enumerate(values):
        held = [None, shaped[i]] if 0 < i < len(shaped) else [None, *shaped]
        images.append({"id": i, "alone": meaning(case, value), **insert_one(stream, case, i, value, held)})
    stream.sql(f"INSERT INTO {table_of(case)} VALUES ({len(values)})")
    return [*images, {"id": len(values), **dict.fromkeys(("alone", "listed", "square", "whole"))}]


def insert_one(stream: Stream, case: TypeCase, number: int, value: Sample, held: list[Sample | None]) -> Image:
    """`value` alone, `held` in its arrays and in a field, beside the first that is no NULL."""
    first, square = next(item for item in held if item), in_twos(held)
    arrays = [array_text(given, case.delimiter) for given in (held, square)]
    result = stream.connection.pgconn.exec_params(
        f"""INSERT INTO {table_of(case)}
            VALUES ($1, $2::{case.sql}, $3, $4, ROW($5::{case.sql}, $3::{case.sql}[]))""".encode(),
        [text.encode() for text in (str(number), value.literal, *arrays, first.literal)],
    )
    assert not result.error_message, result.error_message.decode()
    listed = meaning(case, held)
    return {
        "listed": listed,
        "square": meaning(case, square),
        "whole": {"plain": meaning(case, first), "listed": listed},
    }


def images_of(stream: Stream, op: str, image: str) -> dict[str, list[Image]]:
    """By table, in the order of arrival. Numbers are read exactly, from the bytes that a consumer gets."""
    found: dict[str, list[Image]] = {}
    for record in stream.sink.records:
        value = {} if record.value is None else parse_json(record.value)
        if value.get("op") == op and value["source"]["schema"] == "public":
            found.setdefault(value["source"]["table"], []).append(value[image])
    return found


@on_every_version()
def test_every_type(capture: OpenCapture) -> None:
    stream = capture(started=False)
    version = stream.server.version
    cases = cases_on(version)
    stream.sql(*setup_statements(version), *(line for case in cases for line in create(case)))
    stream.start()
    with stream.connection.transaction():
        expected = {table_of(case): insert(stream, case, case.edges_on(version)) for case in cases}
    stream.transaction(*(f"DELETE FROM {table_of(case)}" for case in cases))
    stream.read()
    created, deleted = images_of(stream, "c", "after"), images_of(stream, "d", "before")
    for case in cases:
        assert created[table_of(case)] == expected[table_of(case)], case.sql
        assert deleted[table_of(case)] == expected[table_of(case)], case.sql
