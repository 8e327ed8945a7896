"""Composites and domains of the types' table, and types of extensions that the suite's servers do not have.

pgvector and PostGIS are not on the servers of the suite. A stand-in is a real type of the same name whose input and output
functions are those of text: the connector sees what it would see of the extension, and a test may give it any text at all.
"""

from __future__ import annotations

import json

from hypothesis import strategies as st

from cdc.model.types import LogicalType
from tests.integration.postgres.type_samples import (
    COORDINATES,
    Sample,
    TypeCase,
    one_of,
    pairs,
    same,
    texts,
    unchanged,
)

_INTS = st.integers(-99, 99)

# Every other case becomes array, field and domain in the tests themselves


def _field(text: str | None) -> str:
    return "" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def _pair(number: int | None, text: str | None) -> Sample:
    literal = f"({'' if number is None else number},{_field(text)})"
    value = {"n": number, 'odd "name", \\': text}
    return Sample(literal, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


_GRIDS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(st.none() | _INTS, min_size=width, max_size=width), min_size=1, max_size=3)
)


def _grid(rows: list[list[int | None]]) -> Sample:
    shown = json.dumps(rows, separators=(",", ":"))
    return Sample(shown.replace("[", "{").replace("]", "}").replace("null", "NULL"), shown.encode())


CONTAINER_CASES = [
    TypeCase(
        "cases.positive",
        "domain",
        LogicalType.DECIMAL,
        st.integers(1, 10**9).map(lambda n: Sample(f"{n}.5", f"{n}.50".encode())),
        pairs(("2.5", "2.50")),
        setup=("CREATE DOMAIN cases.positive AS numeric(12,2) CHECK (VALUE > 0)",),
    ),
    TypeCase(
        "cases.narrow",
        "domain",
        LogicalType.DECIMAL,
        st.integers(1, 99).map(lambda n: Sample(f"{n}", f"{n}.00".encode())),
        pairs(("2.5", "2.50")),
        setup=("CREATE DOMAIN cases.narrow AS cases.positive CHECK (VALUE < 100)",),
    ),
    TypeCase(
        "cases.grid",
        "domain",
        LogicalType.ARRAY,
        _GRIDS.map(_grid),
        pairs(("{}", "[]"), ("[0:1]={1,2}", "[1,2]")),
        setup=("CREATE DOMAIN cases.grid AS integer[]",),
        server="array_to_json(v)::text",
        seen=lambda canonical: canonical.decode(),
        server_json=True,
    ),
    TypeCase(
        "cases.pair",
        "composite",
        LogicalType.COMPOSITE,
        st.builds(_pair, st.none() | _INTS, st.none() | texts(8)),
        (_pair(None, None), _pair(1, ""), _pair(-2, 'a "b" \\ (c), d')),
        setup=(
            'CREATE TYPE cases.pair AS (n integer, gone integer, "odd ""name"", \\" text)',
            "ALTER TYPE cases.pair DROP ATTRIBUTE gone",
        ),
        server="row_to_json(v)::text",
        seen=lambda canonical: canonical.decode(),
        server_json=True,
    ),
    TypeCase(
        "cases.pair_domain",
        "composite",
        LogicalType.COMPOSITE,
        st.builds(_pair, _INTS, texts(8)),
        (_pair(1, "x"),),
        setup=("CREATE DOMAIN cases.pair_domain AS cases.pair CHECK ((VALUE).n > -1000)",),
    ),
    TypeCase(
        "cases.nothing",
        "composite",
        LogicalType.COMPOSITE,
        one_of(pairs(("()", "{}"))),
        pairs(("()", "{}")),
        setup=("CREATE TYPE cases.nothing AS ()",),
    ),
    TypeCase(
        "cases.single",
        "composite",
        LogicalType.COMPOSITE,
        one_of(pairs(("()", '{"only":null}'), ('("")', '{"only":""}'), ("(x)", '{"only":"x"}'))),
        pairs(("()", '{"only":null}')),
        setup=('CREATE TYPE cases.single AS ("only" text)',),
    ),
]


# Types of extensions that the suite's servers do not have


def _stand_in(name: str, delimiter: str = ",") -> tuple[str, ...]:
    function = "LANGUAGE internal IMMUTABLE STRICT"
    return (
        f"CREATE TYPE cases.{name}",
        f"CREATE FUNCTION cases.{name}_in(cstring) RETURNS cases.{name} {function} AS 'textin'",
        f"CREATE FUNCTION cases.{name}_out(cases.{name}) RETURNS cstring {function} AS 'textout'",
        f"CREATE TYPE cases.{name} (INPUT = cases.{name}_in, OUTPUT = cases.{name}_out, LIKE = text, DELIMITER = '{delimiter}')",
    )


def _ewkb(raw: bytes) -> Sample:
    return Sample(raw.hex().upper(), raw)


_VECTORS = unchanged(st.lists(COORDINATES, min_size=1, max_size=5).map(lambda given: f"[{','.join(given)}]"))
_POINT_4326 = bytes.fromhex("0101000020E6100000000000000000F03F0000000000000040")
STAND_IN_CASES = [
    *(
        TypeCase(
            f"cases.{name}",
            "vector, halfvec (pgvector)",
            LogicalType.VECTOR,
            _VECTORS,
            (
                *same("[1,2.5,-1e-07]"),
                Sample("not a vector", b'"not a vector"'),
                Sample('[1,"x"]', b'"[1,\\"x\\"]"'),
                Sample("[NaN]", b'"[NaN]"'),
            ),
            setup=_stand_in(name),
        )
        for name in ("vector", "halfvec")
    ),
    TypeCase(
        "cases.sparsevec",
        "sparsevec",
        LogicalType.SPARSE,
        one_of(same("{1:1.5,3:2}/5", "{}/3")),
        same("{1:1.5}/3"),
        setup=_stand_in("sparsevec"),
    ),
    *(
        TypeCase(
            f"cases.{name}",
            "PostGIS geometry, geography",
            LogicalType.SPATIAL,
            st.binary(min_size=1, max_size=30).map(_ewkb),
            (_ewkb(_POINT_4326),),
            setup=_stand_in(name, ":"),
            delimiter=":",
        )
        for name in ("geometry", "geography")
    ),
    TypeCase(
        "cases.mystery",
        "any other",
        LogicalType.TEXT,
        unchanged(texts(10)),
        same("anything", ""),
        setup=_stand_in("mystery", ";"),
        delimiter=";",
    ),
]
