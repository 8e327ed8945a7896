"""JSON, networks, names of things, shapes and ranges of the types' table."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address

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
    whole,
)

# JSON and hstore

_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts(8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(5), inner, max_size=3),
    max_leaves=6,
)


def _sorted_keys(value: object) -> object:
    """jsonb's order of keys: shorter first, then by bytes."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: _sorted_keys(value[key]) for key in keys}
    return [_sorted_keys(item) for item in value] if isinstance(value, list) else value


def _jsonb(value: object) -> Sample:
    return Sample(json.dumps(value), json.dumps(_sorted_keys(value), ensure_ascii=False).encode())


def _hstore_string(text: str | None) -> str:
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hstore(pairs: dict[str, str | None]) -> Sample:
    literal = ",".join(f"{_hstore_string(key)}=>{_hstore_string(value)}" for key, value in pairs.items())
    return Sample(literal, json.dumps(_sorted_keys(pairs), ensure_ascii=False, separators=(",", ":")).encode())


JSON_CASES = [
    TypeCase(
        "json",
        "json, jsonb",
        LogicalType.JSON,
        unchanged(st.builds(json.dumps, _TREES, indent=st.none() | st.integers(0, 2), ensure_ascii=st.booleans())),
        same('{"a": [1, 2],  "a":null}', "null", '"text"', "1e400", ' [ "\\u0041" ]\n'),
    ),
    TypeCase(
        "jsonb",
        "json, jsonb",
        LogicalType.JSON,
        _TREES.map(_jsonb),
        pairs(('{"bb":1,"a":[1.50,null]}', '{"a": [1.50, null], "bb": 1}'), ("null", "null")),
    ),
    TypeCase(
        "cases.hstore",
        "hstore",
        LogicalType.MAP,
        st.dictionaries(texts(8), st.none() | texts(8), max_size=4).map(_hstore),
        pairs(
            ("", "{}"),
            ("k=>v,n=>NULL", '{"k":"v","n":null}'),
            ('n=>"NULL", "=>"=>", "', '{"n":"NULL","=>":", "}'),
            ('"a\\"b"=>"c\\\\d"', '{"a\\"b":"c\\\\d"}'),
        ),
        extension="hstore",
        server="cases.hstore_to_json(v)::text",
        seen=lambda canonical: json.dumps(json.loads(canonical), ensure_ascii=False),
        server_json=True,
    ),
]


# Networks and the names of things

NETWORK_CASES = [
    TypeCase(
        "inet",
        "inet, cidr, macaddr, macaddr8",
        LogicalType.TEXT,
        unchanged(st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))))
        | unchanged(st.integers(0x20010DB8 << 96, (0x20010DB9 << 96) - 1).map(lambda n: str(IPv6Address(n)))),
        pairs(("192.168.0.1/24", "192.168.0.1/24"), ("::1", "::1"), ("10.1.2.3/32", "10.1.2.3")),
    ),
    TypeCase(
        "cidr",
        "inet, cidr, macaddr, macaddr8",
        LogicalType.TEXT,
        unchanged(st.integers(0, 2**24 - 1).map(lambda n: f"{IPv4Address(n << 8)}/24")),
        pairs(("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128")),
    ),
    *(
        TypeCase(
            name,
            "inet, cidr, macaddr, macaddr8",
            LogicalType.TEXT,
            unchanged(st.binary(min_size=size, max_size=size).map(lambda raw: raw.hex(":"))),
            edges,
        )
        for name, size, edges in [
            ("macaddr", 6, pairs(("08-00-2B-01-02-03", "08:00:2b:01:02:03"))),
            ("macaddr8", 8, pairs(("08:00:2b:01:02:03", "08:00:2b:ff:fe:01:02:03"))),
        ]
    ),
]
_NAMED = "tsquery, pg_lsn, jsonpath, reg*, txid_snapshot"
NAME_CASES = [
    *(
        TypeCase(name, _NAMED, LogicalType.TEXT, one_of(edges), edges)
        for name, edges in [
            ("tsquery", pairs(("a & 'b c'", "'a' & 'b c'"), ("!x", "!'x'"))),
            ("jsonpath", pairs(("$.a[*]", '$."a"[*]'))),
            ("regclass", pairs(("pg_catalog.pg_type", "pg_type"), ("-", "-"))),
            ("regtype", pairs(("int4", "integer"), ("int8[]", "bigint[]"))),
            ("regproc", pairs(("pg_catalog.now", "now"))),
            ("regprocedure", pairs(("abs(int4)", "abs(integer)"))),
            ("regoperator", pairs(("+(int4,int4)", "+(integer,integer)"))),
            ("regrole", same("postgres")),
            ("regnamespace", same("pg_catalog")),
            ("regconfig", same("english")),
            ("regdictionary", same("simple")),
            ("txid_snapshot", same("10:20:10,14,15")),
            ("pg_snapshot", same("10:20:10,14,15", "1:1:")),
        ]
    ),
    TypeCase(
        "pg_lsn",
        _NAMED,
        LogicalType.TEXT,
        unchanged(st.integers(0, 2**64 - 1).map(lambda n: f"{n >> 32:X}/{n & 0xFFFFFFFF:X}")),
        same("16/B374D848"),
    ),
    *(
        TypeCase(name, "any other", LogicalType.TEXT, values, edges)
        for name, values, edges in [
            ("xid8", whole(0, 2**64 - 1), same("18446744073709551615")),
            ("tid", one_of(same("(0,1)")), same("(4294967295,65535)")),
            ("int2vector", one_of(same("1 2 3")), same("", "-1 32767")),
            ("oidvector", one_of(same("1 2 3")), same("", "4294967295")),
            ("refcursor", unchanged(texts(10)), same("c")),
            ("aclitem", one_of(same("postgres=r/postgres")), same("=UC/postgres")),
        ]
    ),
    TypeCase(
        "cases.cube",
        "any other",
        LogicalType.TEXT,
        one_of(same("(1, 2),(3, 4)")),
        pairs(("1,2", "(1, 2)")),
        extension="cube",
    ),
    TypeCase("cases.seg", "any other", LogicalType.TEXT, one_of(same("1.5 .. 2")), same("~1", "5 .."), extension="seg"),
    TypeCase(
        "cases.query_int", "any other", LogicalType.TEXT, one_of(same("1 & 2")), same("1 | !2"), extension="intarray"
    ),
    TypeCase("cases.lo", "oid, xid, cid", LogicalType.UINT32, whole(0, 2**32 - 1), same("7"), extension="lo"),
]


# Shapes

_POINT = st.builds("({},{})".format, COORDINATES, COORDINATES)
_SIZE = st.integers(0, 99).map(str)


def _box(x: int, y: int, width: int, height: int) -> Sample:
    """The upper right corner is printed first."""
    return Sample(f"({x},{y}),({x + width},{y + height})", f"({x + width},{y + height}),({x},{y})".encode())


def _points(brackets: str) -> st.SearchStrategy[Sample]:
    return unchanged(
        st.lists(_POINT, min_size=1, max_size=4).map(lambda given: brackets[0] + ",".join(given) + brackets[1])
    )


_INTS = st.integers(-99, 99)
_SHAPES = "box, lseg, path, polygon"
GEOMETRIC_CASES = [
    TypeCase(
        "point", "point", LogicalType.GEOMETRIC, unchanged(_POINT), same("(1.5,2.5)", "(1e+300,NaN)", "(-0,Infinity)")
    ),
    TypeCase(
        "box",
        _SHAPES,
        LogicalType.GEOMETRIC,
        st.builds(_box, _INTS, _INTS, st.integers(0, 9), st.integers(0, 9)),
        pairs(("(1,2),(3,4)", "(3,4),(1,2)")),
        delimiter=";",
    ),
    TypeCase(
        "lseg",
        _SHAPES,
        LogicalType.GEOMETRIC,
        unchanged(st.builds("[{},{}]".format, _POINT, _POINT)),
        same("[(1,2),(3,4)]"),
    ),
    TypeCase(
        "path", _SHAPES, LogicalType.GEOMETRIC, _points("[]") | _points("()"), same("[(1,2),(3,4)]", "((1,2),(3,4))")
    ),
    TypeCase("polygon", _SHAPES, LogicalType.GEOMETRIC, _points("()"), same("((1,2),(3,4),(5,6))")),
    TypeCase(
        "circle",
        "circle, line",
        LogicalType.GEOMETRIC,
        unchanged(st.builds("<{},{}>".format, _POINT, _SIZE)),
        same("<(1,2),3>"),
    ),
    TypeCase(
        "line",
        "circle, line",
        LogicalType.GEOMETRIC,
        unchanged(st.builds("{{{},1,{}}}".format, COORDINATES, COORDINATES)),
        same("{1,2,3}"),
    ),
]


# Ranges

_BOUNDS = st.tuples(st.integers(-999, 999), st.integers(1, 999)).map(lambda pair: (pair[0], pair[0] + pair[1]))
_HALF_OPEN = unchanged(_BOUNDS.map(lambda bounds: f"[{bounds[0]},{bounds[1]})"))
_ROUND = unchanged(_BOUNDS.map(lambda bounds: f"({bounds[0]}.5,{bounds[1]}.75]"))
_UNBOUNDED = same("empty", "(,)")
RANGE_CASES = [
    *(
        TypeCase(
            name, "ranges", LogicalType.RANGE, _HALF_OPEN, (*_UNBOUNDED, *pairs(("[1,4]", "[1,5)"), ("(,4]", "(,5)")))
        )
        for name in ("int4range", "int8range")
    ),
    TypeCase("numrange", "ranges", LogicalType.RANGE, _ROUND, (*_UNBOUNDED, *same("[1.50,NaN)"))),
    TypeCase(
        "tsrange",
        "ranges",
        LogicalType.RANGE,
        one_of(same('["2024-01-01 00:00:00","2024-01-02 00:00:00")')),
        (*_UNBOUNDED, *pairs(("[2024-01-01,infinity]", '["2024-01-01 00:00:00",infinity]'))),
    ),
    TypeCase(
        "tstzrange",
        "ranges",
        LogicalType.RANGE,
        one_of(same('["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")')),
        pairs(("[2024-01-01 02:00+02,)", '["2024-01-01 00:00:00+00",)')),
    ),
    TypeCase(
        "daterange",
        "ranges",
        LogicalType.RANGE,
        one_of(same("[2024-01-01,2024-02-01)")),
        same('["0044-03-15 BC",infinity)'),
    ),
    TypeCase(
        "cases.textrange",
        "ranges",
        LogicalType.RANGE,
        one_of(same("[a,b)", '["",z]', '["a,b","c""d"]')),
        same('["\\\\",)'),
        setup=('CREATE TYPE cases.textrange AS RANGE (SUBTYPE = text, COLLATION = "C")',),
    ),
    *(
        TypeCase(
            name,
            "multiranges",
            LogicalType.RANGE,
            _HALF_OPEN.map(lambda one: Sample(f"{{{one.literal}}}", b"{" + one.canonical + b"}")),
            pairs(("{}", "{}"), ("{[1,2],[5,9)}", "{[1,3),[5,9)}")),
            since=14,
        )
        for name in ("int4multirange", "int8multirange")
    ),
    TypeCase("nummultirange", "multiranges", LogicalType.RANGE, one_of(same("{[1.5,2.5)}")), same("{}"), since=14),
    TypeCase(
        "tsmultirange",
        "multiranges",
        LogicalType.RANGE,
        one_of(same('{["2024-01-01 00:00:00","2024-01-02 00:00:00")}')),
        same("{}"),
        since=14,
    ),
    TypeCase(
        "tstzmultirange",
        "multiranges",
        LogicalType.RANGE,
        one_of(same('{["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")}')),
        same("{}"),
        since=14,
    ),
    TypeCase(
        "datemultirange",
        "multiranges",
        LogicalType.RANGE,
        one_of(same("{[2024-01-01,2024-02-01)}")),
        same("{}"),
        since=14,
    ),
    TypeCase(
        "cases.wordmultirange",
        "multiranges",
        LogicalType.RANGE,
        one_of(same("{[a,b),[c,d]}")),
        same('{["",""]}'),
        since=14,
        setup=(
            'CREATE TYPE cases.wordrange AS RANGE (SUBTYPE = text, COLLATION = "C", MULTIRANGE_TYPE_NAME = cases.wordmultirange)',
        ),
    ),
]


SHAPE_CASES = [*JSON_CASES, *NETWORK_CASES, *NAME_CASES, *GEOMETRIC_CASES, *RANGE_CASES]
