"""docs/types.md: every row of the types' contract, what it becomes, and how much of it is tried on which server.

The rows are written here in the contract's order; what is tried is counted in the tests' own table (`type_cases.py`). A row that
nothing tries on a server that has the type is an empty cell, and a test fails for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.integration.postgres.type_cases import CASES, GENERATED_LISTS
from tests.integration.postgres.type_samples import TypeCase
from tests.servers.catalogue import POSTGRES

VERSIONS: Final = tuple(POSTGRES)
ARRAYS: Final = 4  # flat, with bounds, of two dimensions, of four

_INTRODUCTION: Final = """\
# Types

Generated from the tests' table of types by `make generate`; do not edit.

What a PostgreSQL value becomes in an event. Sessions are pinned (time zone UTC, ISO dates, and so on), so no setting of role or database
changes this. NULL is JSON null; a large value that the log left out is absent from `after` and named in `unchanged`. Text that is not of the
type that the log declared is never guessed at: it ends the run, or inside a container gives the server's text.
"""
_PROOF: Final = """\
## What is tried, on which server

Each type goes in as text through the server's own input function and comes back by logical replication and by plain queries, alone, in arrays,
in fields of composites, and below domains; what must come out is computed without the code under test. A cell: lists of generated values ·
edge values · arrays ({arrays} forms a type). Generated lists have up to 12 values; {generated} a type on the newest server, {fewer} on the others.
"""


@dataclass(frozen=True, slots=True)
class ContractRow:
    """One row of the contract. `example` is the value in JSON; `since` is the first server that has the type."""

    title: str
    form: str
    example: str
    since: int = 13


ROWS: Final = (
    ContractRow("boolean", "true or false", "true"),
    ContractRow("smallint, integer, bigint", "number, all digits", "9007199254740993"),
    ContractRow("oid, xid, cid", "number", "4294967295"),
    ContractRow("real", "number, shortest that reads back; strings for what is not finite", '0.1, "NaN"'),
    ContractRow(
        "double precision", "number, shortest that reads back; strings for what is not finite", '1e+20, "-Infinity"'
    ),
    ContractRow("numeric(p,s)", "string with every digit", '"123.45"'),
    ContractRow("numeric", "string with every digit", '"123.4500", "NaN", "Infinity"'),
    ContractRow("numeric(5,-2)", "string", '"12300"', since=15),
    ContractRow("money", "string, without symbol and commas", '"1234.56"'),
    ContractRow("char(n)", "string, padded as the server does", '"ab   "'),
    ContractRow('"char", name', "string", '"x"'),
    ContractRow("varchar, text, citext, isn types", "string", '"Ab"'),
    ContractRow("bytea", "string, base64", '"AP8="'),
    ContractRow("bit(1)", "string", '"1"'),
    ContractRow("bit(n), varbit", "string of digits", '"101010101011"'),
    ContractRow("date", "string, ISO 8601", '"2024-02-29", "-0043-03-15", "infinity"'),
    ContractRow("time(0–3)", "string, the digits that the server sent", '"13:14:15.12"'),
    ContractRow("time, time(4–6)", "string", '"13:14:15.123456", "24:00:00"'),
    ContractRow("timetz", "string with offset, to the second where it has one", '"13:14:15.123456+02:00"'),
    ContractRow("timestamp(0–3)", "string without zone", '"2024-02-29T13:14:15.12"'),
    ContractRow("timestamp, (4–6)", "string without zone", '"+294276-12-31T23:59:59.999999"'),
    ContractRow("timestamptz(n)", "string, RFC 3339, UTC", '"2024-02-29T11:14:15.123456Z"'),
    ContractRow("interval", "string, ISO 8601", '"P1Y2M3DT4H5M6.7S"'),
    ContractRow("uuid", "string, lower case", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
    ContractRow("json, jsonb", "string of the text: SQL NULL and JSON null stay apart", r'"{\"a\": 1}"'),
    ContractRow("xml", "string", '"<a/>"'),
    ContractRow("T[]", "array, nested per dimension; lower bounds are dropped", "[[1,null],[3,4]]"),
    ContractRow("enum", "string, the label", '"so, so"'),
    ContractRow("domain", "as what it is over", '"2.50"'),
    ContractRow("composite", "object", '{"n":1,"t":null}'),
    ContractRow("ranges", "string, the server's text", '"[1,5)"'),
    ContractRow("multiranges", "string, the server's text", '"{[1,3),[5,7)}"', since=14),
    ContractRow("hstore", "object", '{"k":"v","n":null}'),
    ContractRow("inet, cidr, macaddr, macaddr8", "string, the server's text", '"192.168.0.1/24"'),
    ContractRow("point", "string, the server's text", '"(1.5,2.5)"'),
    ContractRow("box, lseg, path, polygon", "string, the server's text", '"(3,4),(1,2)"'),
    ContractRow("circle, line", "string, the server's text", '"<(1,2),3>"'),
    ContractRow("PostGIS geometry, geography", "string, base64 of EWKB", '"AQEAAA…"'),
    ContractRow("tsvector, ltree", "string, the server's text", "\"'a':1 'b':2A\""),
    ContractRow("tsquery, pg_lsn, jsonpath, reg*, txid_snapshot", "string, the server's text", '"16/B374D848"'),
    ContractRow("vector, halfvec (pgvector)", "array of numbers", "[1.5,2]"),
    ContractRow("sparsevec", "string, the server's text", '"{1:1.5,3:2}/5"'),
    ContractRow("any other", "string, the server's text; the column's type name is known", '"1.5 .. 2"'),
)

# The contract's edges: which type's case must have which canonical form among its edge values.
EDGES: Final = (
    ("date ±infinity", "date", (b"infinity", b"-infinity")),
    ("timestamp ±infinity", "timestamp", (b"infinity", b"-infinity")),
    ("timestamptz ±infinity", "timestamptz", (b"infinity", b"-infinity")),
    ("date before Christ", "date", (b"-0043-03-15",)),
    ("the last timestamp", "timestamp", (b"+294276-12-31T23:59:59.999999",)),
    ("time 24:00:00", "time", (b"24:00:00",)),
    ("timetz 24:00:00+00", "timetz", (b"24:00:00+00:00",)),
    ("timetz, offset with seconds", "timetz", (b"00:00:00+15:59:59",)),
    ("interval of 178000000 years", "interval", (b"P178000000Y",)),
    ("numeric of 131072 digits, and 1e30", "numeric", (b"1" + b"0" * 131071, b"1" + b"0" * 30)),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """How much of a row is tried on one server."""

    generated: int
    edges: int
    arrays: int

    def __str__(self) -> str:
        return f"{self.generated} · {self.edges} · {self.arrays}"


def cases_of(row: ContractRow, version: int) -> list[TypeCase]:
    """An array's row is tried by the arrays of every other case."""
    return [case for case in CASES if case.since <= version and row.title in (case.row, "T[]")]


def cell(row: ContractRow, version: int) -> Cell:
    cases = cases_of(row, version)
    generated = GENERATED_LISTS["newest" if version == VERSIONS[-1] else "each"]
    edges = sum(len(case.edges_on(version)) for case in cases)
    return Cell(generated * len(cases), edges, ARRAYS * len(cases))


def unknown_rows() -> set[str]:
    """Rows that the tests' cases name and the contract has not."""
    return {case.row for case in CASES} - {row.title for row in ROWS}


def missing_edges() -> list[str]:
    return [f"{title}: {form[:40]!r}" for title, sql, forms in EDGES for form in forms if form not in _edges_of(sql)]


def _edges_of(sql: str) -> set[bytes]:
    (case,) = (case for case in CASES if case.sql == sql)
    return {sample.canonical for sample in case.edges_on(VERSIONS[-1])}


def page() -> str:
    lines = [_INTRODUCTION, "| type | in JSON | for instance |", "|---|---|---|"]
    lines += [f"| {_shown(row.title)} | {row.form} | `{row.example}` |" for row in ROWS]
    proof = _PROOF.format(arrays=ARRAYS, generated=GENERATED_LISTS["newest"], fewer=GENERATED_LISTS["each"])
    lines += ["", proof, "| type | " + " | ".join(map(str, VERSIONS)) + " |", "|---" * (len(VERSIONS) + 1) + "|"]
    for row in ROWS:
        cells = [str(cell(row, v)) if v >= row.since else f"since {row.since}" for v in VERSIONS]
        lines.append(f"| {_shown(row.title)} | " + " | ".join(cells) + " |")
    lines += ["", "Edges that must be among them: " + "; ".join(title for title, _, _ in EDGES) + "."]
    lines += ["", _stand_ins()]
    return "\n".join(lines) + "\n"


def _shown(title: str) -> str:
    return title.replace("*", "\\*")


def _stand_ins() -> str:
    return (
        "pgvector's and PostGIS's types are tried by stand-ins: types of the same name whose text is what the extension's would be. "
        "A database that is not UTF-8 is read as UTF-8; one in SQL_ASCII may hold bytes that are no text, and `CDC_INVALID_TEXT` decides "
        "about them. Stored generated columns are in the log from PostgreSQL 18 on, where the publication asks for them."
    )
