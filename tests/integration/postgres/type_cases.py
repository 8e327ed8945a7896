"""Every row of the types' contract as data: what to give to a server, and what must come out.

Used three times: for the server's text read by plain queries, for real logical replication, and for docs/types.md. Nothing
here calls the code under test: what is expected follows from the generated Python value, or is written down. Dates and times
are in `type_cases_times.py`, JSON, shapes and ranges in `type_cases_shapes.py`, the rest in `type_cases_containers.py`.
"""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from xml.sax.saxutils import escape

from hypothesis import strategies as st

from cdc.model.types import LogicalType
from tests.integration.postgres.type_cases_containers import CONTAINER_CASES, STAND_IN_CASES
from tests.integration.postgres.type_cases_shapes import SHAPE_CASES
from tests.integration.postgres.type_cases_times import TIME_CASES
from tests.integration.postgres.type_samples import (
    NASTY_TEXTS,
    Sample,
    TypeCase,
    one_of,
    pairs,
    quoted,
    same,
    texts,
    unchanged,
    whole,
)

# Numbers


def _decimal(value: Decimal) -> Sample:
    text = format(value, "f")
    return Sample(str(value), (text.lstrip("-") if value == 0 else text).encode())


def _money(cents: int) -> Sample:
    whole_part, rest = divmod(abs(cents), 100)
    text = f"{'-' if cents < 0 else ''}{whole_part}.{rest:02d}"
    return Sample(text, text.encode())


def _real(digits: int, exponent: int) -> Sample:
    """At most six digits, which a real always gives back."""
    return Sample(f"{digits}e{exponent}", f"{digits}e{exponent}".encode())


def _double(value: float) -> Sample:
    return Sample(repr(value), repr(value).encode())


NUMERIC_CASES = [
    TypeCase(
        "boolean",
        "boolean",
        LogicalType.BOOL,
        one_of(pairs(("true", "true"), ("false", "false"), ("yes", "true"), ("0", "false"))),
        pairs(("t", "true"), ("f", "false")),
        server="to_json(v)::text",
        server_json=True,
    ),
    *(
        TypeCase(
            name,
            "smallint, integer, bigint",
            logical,
            whole(-(2**bits), 2**bits - 1),
            same("0", "-1", str(-(2**bits)), str(2**bits - 1)),
            server="to_json(v)::text",
            server_json=True,
        )
        for name, logical, bits in [
            ("smallint", LogicalType.INT16, 15),
            ("integer", LogicalType.INT32, 31),
            ("bigint", LogicalType.INT64, 63),
        ]
    ),
    *(
        TypeCase(name, "oid, xid, cid", LogicalType.UINT32, whole(0, 2**32 - 1), same("0", str(2**32 - 1)))
        for name in ("oid", "xid", "cid")
    ),
    TypeCase(
        "real",
        "real",
        LogicalType.FLOAT32,
        st.builds(_real, st.integers(-999_999, 999_999), st.integers(-36, 32)),
        same("1.5", "1e-45", "3.4028235e+38", "-0", "NaN", "Infinity", "-Infinity", "0.1", "1e+20"),
        server_json=True,
    ),
    TypeCase(
        "double precision",
        "double precision",
        LogicalType.FLOAT64,
        st.builds(_double, st.floats(allow_nan=False, allow_infinity=False)),
        same(
            "0.1", "5e-324", "1.7976931348623157e+308", "-0", "NaN", "Infinity", "-Infinity", "1e+20", "100000000000000"
        ),
        server_json=True,
    ),
    TypeCase(
        "numeric(10,2)",
        "numeric(p,s)",
        LogicalType.DECIMAL,
        st.builds(_decimal, st.decimals(-99_999_999, 99_999_999, places=2)),
        pairs(("123.45", "123.45"), ("1", "1.00"), ("-0.005", "-0.01"), ("NaN", "NaN"), ("-0", "0.00")),
        server="to_char(v, 'FM99999999990.00')",
    ),
    TypeCase(
        "numeric",
        "numeric",
        LogicalType.DECIMAL,
        st.builds(_decimal, st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)),
        (
            *same("123.4500", "0.000", "NaN", "1" + "0" * 131071, "0." + "0" * 16382 + "1"),
            Sample("1e30", b"1" + b"0" * 30),
        ),
        ((14, Sample("Infinity", b"Infinity")), (14, Sample("-inf", b"-Infinity"))),
    ),
    TypeCase(
        "numeric(5,-2)",
        "numeric(5,-2)",
        LogicalType.DECIMAL,
        st.integers(-99_999, 99_999).map(lambda n: Sample(str(n * 100), str(n * 100).encode())),
        pairs(("12345", "12300"), ("49", "0")),
        since=15,
    ),
    TypeCase(
        "money",
        "money",
        LogicalType.DECIMAL,
        st.integers(-(2**63), 2**63 - 1).map(_money),
        pairs(
            ("1234.56", "1234.56"), ("$1,234,567.8", "1234567.80"), ("-0.01", "-0.01"), ("($2)", "-2.00"), ("0", "0.00")
        ),
        server="v::numeric::text",
    ),
]


# Text


def _padded(text: str) -> Sample:
    return Sample(text, text.ljust(5).encode())


def _xml(content: str) -> Sample:
    text = f"<a>{escape(content)}</a>"
    return Sample(text, text.encode())


LABELS = ("sad", "ok", "so, so", 'a "b"', "back\\slash", "NULL", "{x}", "(y)", " z ", "日本")
_WORDS = st.text("abcXYZ019_", min_size=1, max_size=8)
_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)

TEXT_CASES = [
    TypeCase(
        "char(5)",
        "char(n)",
        LogicalType.TEXT,
        texts(5).map(_padded),
        pairs(("ab", "ab   "), ("", "     ")),
        server_json=True,
    ),
    TypeCase(
        '"char"',
        '"char", name',
        LogicalType.TEXT,
        unchanged(st.text(_PRINTABLE, max_size=1)),
        same("x", "", "\\", '"', ","),
    ),
    TypeCase("name", '"char", name', LogicalType.TEXT, unchanged(texts(15)), NASTY_TEXTS, server_json=True),
    TypeCase(
        "varchar(20)",
        "varchar, text, citext, isn types",
        LogicalType.TEXT,
        unchanged(texts(20)),
        NASTY_TEXTS,
        server_json=True,
    ),
    TypeCase(
        "text",
        "varchar, text, citext, isn types",
        LogicalType.TEXT,
        unchanged(texts(60)),
        (*NASTY_TEXTS, *same("x" * 100_000, '"\\' * 5_000)),
        server="to_json(v)::text",
        seen=lambda canonical: json.dumps(canonical.decode(), ensure_ascii=False),
        server_json=True,
    ),
    TypeCase(
        "cases.citext",
        "varchar, text, citext, isn types",
        LogicalType.TEXT,
        unchanged(texts(20)),
        same("Ab"),
        extension="citext",
        server_json=True,
    ),
    TypeCase(
        "cases.isbn13",
        "varchar, text, citext, isn types",
        LogicalType.TEXT,
        one_of(same("978-0-393-04002-9", "978-0-11-000533-1")),
        pairs(("9780393040029", "978-0-393-04002-9")),
        extension="isn",
    ),
    TypeCase(
        "uuid",
        "uuid",
        LogicalType.UUID,
        st.uuids().map(lambda value: Sample(str(value).upper(), str(value).encode())),
        pairs(("{A0EEBC999C0B4EF8BB6D6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
        server="to_json(v)::text",
        seen=lambda canonical: f'"{canonical.decode()}"',
        server_json=True,
    ),
    TypeCase(
        "xml",
        "xml",
        LogicalType.XML,
        st.text("abc<>&\"'\\{},; é日\n", max_size=20).map(_xml),
        pairs(("<a>x</a>", "<a>x</a>"), ('<?xml version="1.0"?><a/>', "<a/>"), ("plain, content", "plain, content")),
    ),
    TypeCase(
        "cases.mood",
        "enum",
        LogicalType.ENUM,
        one_of(same(*LABELS)),
        same(*LABELS),
        setup=(f"CREATE TYPE cases.mood AS ENUM ({', '.join(map(quoted, LABELS))})",),
        server_json=True,
    ),
    TypeCase(
        "cases.ltree", "tsvector, ltree", LogicalType.TEXT, unchanged(_WORDS), same("Top.Science"), extension="ltree"
    ),
    TypeCase(
        "tsvector",
        "tsvector, ltree",
        LogicalType.TEXT,
        one_of(pairs(("b:2 a:1", "'a':1 'b':2"), ("x", "'x'"))),
        pairs(("b:2A a:1", "'a':1 'b':2A"), ("'it''s' '\\\\'", "'\\\\' 'it''s'"), ("", "")),
    ),
]


# Binary


def _bytea(raw: bytes) -> Sample:
    return Sample("\\x" + raw.hex(), raw)


BINARY_CASES = [
    TypeCase(
        "bytea",
        "bytea",
        LogicalType.BYTES,
        st.binary(max_size=60).map(_bytea),
        (Sample("\\x", b""), Sample("abc", b"abc"), Sample("\\000\\377", b"\x00\xff"), _bytea(bytes(range(256)) * 40)),
        server="encode(v, 'base64')",
        seen=lambda canonical: base64.encodebytes(canonical).decode().rstrip("\n"),
    ),
    TypeCase("bit(1)", "bit(1)", LogicalType.BITS, one_of(same("0", "1")), same("0", "1")),
    TypeCase(
        "bit(12)",
        "bit(n), varbit",
        LogicalType.BITS,
        unchanged(st.text("01", min_size=12, max_size=12)),
        pairs(("101010101011", "101010101011"), ("xfff", "111111111111")),
    ),
    TypeCase(
        "varbit", "bit(n), varbit", LogicalType.BITS, unchanged(st.text("01", max_size=70)), same("", "000", "1" * 200)
    ),
]

CASES = [*NUMERIC_CASES, *TEXT_CASES, *BINARY_CASES, *TIME_CASES, *SHAPE_CASES, *CONTAINER_CASES, *STAND_IN_CASES]

GENERATED_LISTS = {"newest": 25, "each": 5}
"""Lists of generated values that each case is tried with: on the newest server, and on each of the others."""


def cases_on(version: int) -> list[TypeCase]:
    """What a server of this major version has."""
    return [case for case in CASES if case.since <= version]


def setup_statements(version: int) -> list[str]:
    """Creates, in the schema `cases` of an empty database, what the cases need."""
    statements = ["CREATE SCHEMA cases"]
    wanted = cases_on(version)
    statements += [
        f"CREATE EXTENSION {name} SCHEMA cases" for name in dict.fromkeys(c.extension for c in wanted) if name
    ]
    return statements + [statement for case in wanted for statement in case.setup]
