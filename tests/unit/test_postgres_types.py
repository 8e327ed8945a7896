"""The server's text to canonical bytes, by hand: every line of the contract, its edges, and text that fits nothing.

What real servers print is proved by tests/integration/postgres/test_type_values.py.
"""

from __future__ import annotations

import json
import time
from binascii import unhexlify
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.encode.forms import FORMS
from cdc.encode.json_rows import FLOAT, PLAIN, RAW, append_value
from cdc.errors import DataError
from cdc.model.types import Column, LogicalType
from cdc_postgres.types import Misfit, TypeCatalog, TypeInfo, column_for, json_element, parse_catalog_rows, reader_for
from cdc_postgres.types.builtin import BUILTIN_TYPES
from cdc_postgres.types.misfit import NotUtf8
from cdc_postgres.types.plans import MAX_NESTING

unhurried = settings(deadline=None, database=None)  # a loaded machine is no failure
INTEGERS = (LogicalType.INT16, LogicalType.INT32, LogicalType.INT64, LogicalType.UINT32)

OID = {name: oid for name, oid, *_ in BUILTIN_TYPES}
ARRAY = {name: array for name, _, array, *_ in BUILTIN_TYPES}

HSTORE, MOOD, MOODS, PAIR, PAIRS, POSITIVE, POSITIVES, NESTED, EMPTY, VECTOR, HALFVEC, SPARSEVEC = range(20001, 20013)
CITEXT, GRID, RANGE, LTREE, GEOMETRY, GEOMETRIES, ISBN, ROWS, SINGLE = range(20013, 20022)
USER_TYPES = {
    info.oid: info
    for info in (
        TypeInfo(HSTORE, "public.hstore", "b"),
        TypeInfo(MOOD, "public.mood", "e", "E", labels=("sad", "so, so", 'a "b"')),
        TypeInfo(MOODS, "public._mood", "b", "A", element=MOOD),
        TypeInfo(PAIR, "public.pair", "c", "C", fields=(("n", OID["int4"], -1), ('t"x', OID["text"], -1))),
        TypeInfo(PAIRS, "public._pair", "b", "A", element=PAIR),
        TypeInfo(POSITIVE, "public.positive", "d", "N", base=OID["numeric"], base_modifier=(10 << 16 | 2) + 4),
        TypeInfo(POSITIVES, "public._positive", "b", "A", element=POSITIVE),
        TypeInfo(
            NESTED,
            "public.nested",
            "c",
            "C",
            fields=(("pair", PAIR, -1), ("moods", MOODS, -1), ("b", OID["bool"], -1), ("h", HSTORE, -1)),
        ),
        TypeInfo(EMPTY, "public.empty", "c", "C"),
        TypeInfo(VECTOR, "public.vector", "b"),
        TypeInfo(HALFVEC, "ext.halfvec", "b"),
        TypeInfo(SPARSEVEC, "public.sparsevec", "b"),
        TypeInfo(CITEXT, "public.citext", "b", "S"),
        TypeInfo(GRID, "public.grid", "d", "A", base=ARRAY["int4"]),
        TypeInfo(RANGE, "public.floatrange", "r", "R", range_subtype=OID["float8"]),
        TypeInfo(LTREE, "public.ltree", "b"),
        TypeInfo(GEOMETRY, "public.geometry", "b", delimiter=":"),
        TypeInfo(GEOMETRIES, "public._geometry", "b", "A", delimiter=":", element=GEOMETRY),
        TypeInfo(ISBN, "public.isbn13", "b"),
        TypeInfo(ROWS, "public._nested", "b", "A", element=NESTED),
        TypeInfo(SINGLE, "public.single", "c", "C", fields=(("only", OID["text"], -1),)),
    )
}
OID.update({info.name.partition(".")[2]: oid for oid, info in USER_TYPES.items()})


def canonical(type_oid: int, text: bytes) -> bytes:
    reader = reader_for(type_oid, -1, USER_TYPES)
    return text if reader is None else reader(text)


COPIED = [
    ("int2", "-32768"),
    ("int4", "2147483647"),
    ("int8", "-9223372036854775808"),
    ("oid", "4294967295"),
    ("xid", "3"),
    ("cid", "0"),
    ("float4", "1e-45"),
    ("float8", "1.7976931348623157e+308"),
    ("float8", "-0"),
    ("float8", "NaN"),
    ("float8", "-Infinity"),
    ("numeric", "123.4500"),
    ("numeric", "NaN"),
    ("numeric", "-Infinity"),
    ("numeric", "1" + "0" * 131071),
    ("bpchar", "ab   "),
    ("char", "x"),
    ("name", "pg_class"),
    ("varchar", 'a "quoted" word'),
    ("text", "naïve \\ \n 日本"),
    ("citext", "Ab"),
    ("isbn13", "978-0-393-04002-9"),
    ("ltree", "Top.Science"),
    ("bit", "1"),
    ("varbit", "101010101011"),
    ("time", "13:14:15.12"),
    ("time", "24:00:00"),
    ("interval", "P1Y2M3DT4H5M6.7S"),
    ("interval", "P-10M-3DT4H5M6.7S"),
    ("interval", "P178000000Y"),
    ("interval", "-infinity"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("json", '{"a": [1, 2],  "a":null}'),
    ("jsonb", '{"a": [1, 2]}'),
    ("xml", "<a>x</a>"),
    ("mood", "so, so"),
    ("positive", "2.50"),
    ("int4range", "[1,5)"),
    ("tsrange", '["2024-01-01 00:00:00","2024-01-02 00:00:00")'),
    ("floatrange", "[1.5,)"),
    ("int4multirange", "{[1,3),[5,9)}"),
    ("inet", "192.168.0.1/24"),
    ("cidr", "10.0.0.0/8"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("point", "(1.5,2.5)"),
    ("box", "(3,4),(1,2)"),
    ("lseg", "[(1,2),(3,4)]"),
    ("path", "[(1,2),(3,4)]"),
    ("polygon", "((1,2),(3,4))"),
    ("circle", "<(1,2),3>"),
    ("line", "{1,2,3}"),
    ("tsvector", "'a':1 'b':2"),
    ("tsquery", "'a' & 'b'"),
    ("pg_lsn", "16/B374D848"),
    ("jsonpath", '$."a"[*]'),
    ("regclass", "pg_type"),
    ("txid_snapshot", "10:20:10,14,15"),
    ("int2vector", "1 2 3"),
    ("tid", "(0,1)"),
    ("xid8", "12345678901234567890"),
    ("sparsevec", "{1:1.5,3:2}/5"),
]


@pytest.mark.parametrize(("name", "text"), COPIED)
def test_copied(name: str, text: str) -> None:
    assert reader_for(OID[name], -1, USER_TYPES) is None


READ = [
    ("bool", "t", b"true"),
    ("bool", "f", b"false"),
    ("money", "$1,234.56", b"1234.56"),
    ("money", "-$92,233,720,368,547,758.08", b"-92233720368547758.08"),
    ("money", "($0.01)", b"-0.01"),
    ("money", "$0.00", b"0.00"),
    ("bytea", "\\x00ff", b"\x00\xff"),
    ("bytea", "\\x", b""),
    ("date", "2024-02-29", b"2024-02-29"),
    ("date", "0001-01-01", b"0001-01-01"),
    ("date", "0001-12-31 BC", b"0000-12-31"),
    ("date", "0044-03-15 BC", b"-0043-03-15"),
    ("date", "4713-01-01 BC", b"-4712-01-01"),
    ("date", "10000-01-01", b"+10000-01-01"),
    ("date", "5874897-12-31", b"+5874897-12-31"),
    ("date", "infinity", b"infinity"),
    ("date", "-infinity", b"-infinity"),
    ("timestamp", "2024-02-29 13:14:15", b"2024-02-29T13:14:15"),
    ("timestamp", "2024-02-29 13:14:15.12", b"2024-02-29T13:14:15.12"),
    ("timestamp", "0044-03-15 13:14:15.1 BC", b"-0043-03-15T13:14:15.1"),
    ("timestamp", "294276-12-31 23:59:59.999999", b"+294276-12-31T23:59:59.999999"),
    ("timestamp", "infinity", b"infinity"),
    ("timestamp", "-infinity", b"-infinity"),
    ("timestamptz", "2024-02-29 11:14:15.123456+00", b"2024-02-29T11:14:15.123456Z"),
    ("timestamptz", "0001-01-01 00:00:00+00 BC", b"0000-01-01T00:00:00Z"),
    ("timestamptz", "4714-11-24 00:00:00+00 BC", b"-4713-11-24T00:00:00Z"),
    ("timestamptz", "294276-12-31 23:59:59.999999+00", b"+294276-12-31T23:59:59.999999Z"),
    ("timestamptz", "-infinity", b"-infinity"),
    ("timestamptz", "2024-02-29 13:14:15+02", b"2024-02-29T13:14:15+02:00"),
    ("timestamptz", "2024-02-29 13:14:15+05:30", b"2024-02-29T13:14:15+05:30"),
    ("timetz", "13:14:15.123456+02", b"13:14:15.123456+02:00"),
    ("timetz", "13:14:15-05:30", b"13:14:15-05:30"),
    ("timetz", "00:00:00-15:59:59", b"00:00:00-15:59:59"),
    ("timetz", "24:00:00+00", b"24:00:00+00:00"),
    ("vector", "[1,2.5,-1e-07]", b"[1,2.5,-1e-07]"),
    ("halfvec", "[1,65504]", b"[1,65504]"),
    ("geometry", "0101000020E6100000", unhexlify("0101000020E6100000")),
    ("hstore", "", b"{}"),
    ("hstore", '"k"=>"v", "n"=>NULL', b'{"k":"v","n":null}'),
    ("hstore", r'"a\"b"=>"c\\d"', rb'{"a\"b":"c\\d"}'),
    ("hstore", '"=>"=>", ", "NULL"=>"NULL"', b'{"=>":", ","NULL":"NULL"}'),
    ("hstore", '""=>"\n"', rb'{"":"\n"}'),
    ("pair", "(1,abc)", rb'{"n":1,"t\"x":"abc"}'),
    ("pair", "(,)", rb'{"n":null,"t\"x":null}'),
    ("pair", '(-5,"")', rb'{"n":-5,"t\"x":""}'),
    ("pair", r'(1,"a ""b"" \\ (c), d")', rb'{"n":1,"t\"x":"a \"b\" \\ (c), d"}'),
    ("empty", "()", b"{}"),
    ("single", "()", b'{"only":null}'),
    ("single", '("")', b'{"only":""}'),
    (
        "nested",
        r'("(1,""x, y"")","{sad,""so, so""}",t,"""a""=>""1""")',
        rb'{"pair":{"n":1,"t\"x":"x, y"},"moods":["sad","so, so"],"b":true,"h":{"a":"1"}}',
    ),
    ("grid", "{{1,2},{3,4}}", b"[[1,2],[3,4]]"),
]


@pytest.mark.parametrize(("name", "text", "expected"), READ)
def test_read(name: str, text: str, expected: bytes) -> None:
    assert canonical(OID[name], text.encode()) == expected


ARRAYS = [
    (ARRAY["int4"], "{}", "[]"),
    (ARRAY["int4"], "{1,NULL,-3}", "[1,null,-3]"),
    (ARRAY["int4"], "{{1,2},{NULL,4}}", "[[1,2],[null,4]]"),
    (ARRAY["int4"], "[0:1]={1,2}", "[1,2]"),
    (ARRAY["int4"], "[-2:-1][3:3]={{1},{2}}", "[[1],[2]]"),
    (ARRAY["int4"], "{{{{{{1}}}}}}", "[[[[[[1]]]]]]"),
    (ARRAY["bool"], "{t,f,NULL}", "[true,false,null]"),
    (ARRAY["text"], 'x{a b,"c,d"}'[1:], '["a b","c,d"]'),
    (ARRAY["text"], r'{"NULL",NULL,"","{}","\"","\\"," x "}', r'["NULL",null,"","{}","\"","\\"," x "]'),
    (ARRAY["text"], '{"line\nbreak",日本}', r'["line\nbreak","日本"]'),
    (ARRAY["text"], '{{a,"b}"},{"{c",d}}', '[["a","b}"],["{c","d"]]'),
    (ARRAY["numeric"], "{1.50,NaN,-Infinity}", '["1.50","NaN","-Infinity"]'),
    (ARRAY["money"], '{"$1,234.50",-$0.01}', '["1234.50","-0.01"]'),
    (ARRAY["float8"], "{1.5,NaN,1e+20,-Infinity,-0}", '[1.5,"NaN",1e+20,"-Infinity",-0]'),
    (ARRAY["float4"], "{Infinity}", '["Infinity"]'),
    (ARRAY["bytea"], r'{"\\x00ff","\\x"}', '["AP8=",""]'),
    (ARRAY["json"], r'{"{\"a\": 1}","null",2}', r'["{\"a\": 1}","null","2"]'),
    (ARRAY["xml"], "{<a/>}", '["<a/>"]'),
    (ARRAY["date"], '{2024-02-29,"0044-03-15 BC",infinity}', '["2024-02-29","-0043-03-15","infinity"]'),
    (ARRAY["timestamp"], '{"2024-02-29 13:14:15"}', '["2024-02-29T13:14:15"]'),
    (ARRAY["timestamptz"], '{"2024-02-29 13:14:15+00",-infinity}', '["2024-02-29T13:14:15Z","-infinity"]'),
    (ARRAY["timetz"], "{24:00:00+00}", '["24:00:00+00:00"]'),
    (ARRAY["interval"], "{P1D,PT-0.000001S}", '["P1D","PT-0.000001S"]'),
    (ARRAY["varbit"], '{101,""}', '["101",""]'),
    (ARRAY["uuid"], "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]'),
    (ARRAY["box"], "{(3,4),(1,2);NULL;(1,1),(0,0)}", '["(3,4),(1,2)",null,"(1,1),(0,0)"]'),
    (ARRAY["point"], '{"(1.5,2.5)",NULL}', '["(1.5,2.5)",null]'),
    (ARRAY["line"], '{"{1,2,3}"}', '["{1,2,3}"]'),
    (ARRAY["int4range"], '{"[1,5)",empty}', '["[1,5)","empty"]'),
    (ARRAY["name"], "{a,b}", '["a","b"]'),
    (MOODS, r'{sad,"so, so","a \"b\""}', r'["sad","so, so","a \"b\""]'),
    (POSITIVES, "{1.50,NULL}", '["1.50",null]'),
    (PAIRS, r'{"(1,\"a \"\"b\"\"\")",NULL,"(,)"}', r'[{"n":1,"t\"x":"a \"b\""},null,{"n":null,"t\"x":null}]'),
    (GEOMETRIES, "{0101:NULL:02}", '["AQE=",null,"Ag=="]'),
]


@pytest.mark.parametrize(("type_oid", "text", "expected"), ARRAYS)
def test_array(type_oid: int, text: str, expected: str) -> None:
    assert canonical(type_oid, text.encode()).decode() == expected
    json.loads(expected)


FITS_NOTHING = [
    (ARRAY["int4"], ""),
    (ARRAY["int4"], "{"),
    (ARRAY["int4"], "}"),
    (ARRAY["int4"], "{1,}"),
    (ARRAY["int4"], "{1,,2}"),
    (ARRAY["int4"], "{1}x"),
    (ARRAY["int4"], "{1}}"),
    (ARRAY["int4"], "{{1}"),
    (ARRAY["int4"], "{{1},2}"),
    (ARRAY["int4"], "{1,{2}}"),
    (ARRAY["int4"], "{{1}}{2}"),
    (ARRAY["int4"], "{{{{{{{1}}}}}}}"),
    (ARRAY["int4"], "[0:1]"),
    (ARRAY["int4"], "[0:1={1}"),
    (ARRAY["int4"], "[1,2]"),
    (ARRAY["int4"], "{one}"),
    (ARRAY["int4"], "{01}"),
    (ARRAY["int4"], "{{NaN,x}}"),
    (ARRAY["bool"], "{true}"),
    (ARRAY["text"], "{a,,b}"),
    (ARRAY["text"], '{"a}'),
    (ARRAY["text"], '{a"b}'),
    (ARRAY["text"], "{a\\}"),
    (ARRAY["bytea"], "{abc}"),
    (ARRAY["bytea"], '{"\\\\x0"}'),
    (ARRAY["date"], "{29.02.2024}"),
    (PAIR, ""),
    (PAIR, "("),
    (PAIR, "1,2"),
    (PAIR, "(1)"),
    (PAIR, "(1,2,3)"),
    (PAIR, "(one,2)"),
    (PAIR, "(1,2)x"),
    (PAIR, '(1,"a'),
    (PAIR, '(1,a"b)'),
    (EMPTY, "(1)"),
    (NESTED, r'("(1)",{},t,)'),
    (HSTORE, "k=>v"),
    (HSTORE, '"k"=>"v'),
    (HSTORE, '"k"=>"v""x"=>"y"'),
    (VECTOR, "[]x"),
    (VECTOR, "[1,]"),
    (VECTOR, "[NaN]"),
    (VECTOR, '{"a":1}'),
]


@pytest.mark.parametrize(("type_oid", "text"), FITS_NOTHING)
def test_shape_that_changed_is_the_servers_text(type_oid: int, text: str) -> None:
    assert json.loads(canonical(type_oid, text.encode())) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bool", ""),
        ("bool", "true"),
        ("money", "12 €"),
        ("money", ""),
        ("bytea", "abc"),
        ("bytea", "\\x0"),
        ("bytea", "\\xzz"),
        ("date", "29.02.2024"),
        ("date", ""),
        ("timestamp", "today"),
        ("timestamptz", "2024-02-29 11:14:15 CET"),
        ("timetz", "11:14:15"),
        ("geometry", "POINT(1 2)"),
    ],
)
def test_scalar_that_does_not_fit_is_an_error_without_the_value(name: str, text: str) -> None:
    with pytest.raises(Misfit) as caught:
        canonical(OID[name], text.encode())
    assert not text or text not in str(caught.value)


def test_text_that_is_not_utf8_is_an_error() -> None:
    with pytest.raises(NotUtf8):
        canonical(ARRAY["text"], b"{\xff}")


NOT_SCALAR = [ARRAY["int4"], ARRAY["text"], ARRAY["box"], PAIR, PAIRS, NESTED, ROWS, HSTORE, VECTOR, GRID, GEOMETRIES]
hostile = st.text(st.sampled_from('{}()[]",;:\\=> \nN1ULLa\u00e9'), max_size=40) | st.text(max_size=20)


@unhurried
@given(st.sampled_from(NOT_SCALAR), hostile)
def test_containers_are_valid_json_whatever_the_text(type_oid: int, text: str) -> None:
    json.loads(canonical(type_oid, text.encode(errors="replace")))


@unhurried
@given(
    st.sampled_from(sorted(OID.values()) + sorted(set(ARRAY.values()))),
    st.binary(max_size=20) | hostile.map(str.encode),
)
def test_no_reader_fails_otherwise_than_by_a_data_error(type_oid: int, text: bytes) -> None:
    with suppress(DataError):
        canonical(type_oid, text)


@pytest.mark.parametrize(
    "text",
    [
        b"{" * 400_000,
        b"{" * 200_000 + b"}" * 200_000,
        b'{"' + b"\\" * 400_000,
        b'{"' + b"a" * 400_000,
        b"[1:1]" * 80_000,
        b"(" * 400_000,
        b'("' + b'""' * 200_000,
        b'"a"=>"' + b"\\a" * 200_000,
        b"[" + b"1," * 200_000,
        b"[" + b"1" * 400_000,
        b"{" + b'"a\\"",' * 60_000 + b"b}",
    ],
)
@pytest.mark.parametrize("type_oid", [ARRAY["text"], PAIR, HSTORE, VECTOR])
def test_hostile_text_takes_linear_time(type_oid: int, text: bytes) -> None:
    began = time.process_time()
    json.loads(canonical(type_oid, text))
    assert time.process_time() - began < 2


def chain(length: int) -> dict[int, TypeInfo]:
    """Composites, each the only field of the next; the innermost holds an integer."""
    types = {30000: TypeInfo(30000, "s.c0", "c", "C", fields=(("v", OID["int4"], -1),))}
    for i in range(1, length):
        types[30000 + i] = TypeInfo(30000 + i, f"s.c{i}", "c", "C", fields=(("v", 29999 + i, -1),))
    return types


def chained_text(depth: int) -> str:
    text = "(7)"
    for _ in range(1, depth):
        text = '("' + text.replace("\\", "\\\\").replace('"', '""') + '")' if set(text) & set('"(),') else f"({text})"
    return text


def test_types_nest_as_deep_as_anybody_needs() -> None:
    reader = reader_for(30007, -1, chain(8))
    assert reader is not None
    assert reader(chained_text(8).encode()) == b'{"v":' * 8 + b"7" + b"}" * 8


def test_types_that_nest_deeper_than_the_limit_end_in_the_servers_text() -> None:
    reader = reader_for(30000 + MAX_NESTING + 10, -1, chain(MAX_NESTING + 11))
    assert reader is not None
    assert json.loads(reader(b"(x)")) == "(x)"


def test_types_that_go_round_in_circles_end_too() -> None:
    fields = tuple((f"f{i}", 30000, -1) for i in range(30))
    circle = {
        30000: TypeInfo(30000, "s.c", "c", "C", fields=fields),
        30001: TypeInfo(30001, "s.d", "d", "U", base=30002),
        30002: TypeInfo(30002, "s.e", "d", "U", base=30001),
        30003: TypeInfo(30003, "s._f", "b", "A", element=30003),
    }
    for oid in circle:
        reader = reader_for(oid, -1, circle)
        assert reader is None or json.loads(reader(b"x")) == "x"
        assert column_for("c", oid, -1, circle).name == "c"


def column(type_oid: int, modifier: int = -1) -> Column:
    return column_for("c", type_oid, modifier, USER_TYPES)


@pytest.mark.parametrize(
    ("name", "modifier", "precision", "scale"),
    [
        ("numeric", -1, None, None),
        ("numeric", (10 << 16 | 2) + 4, 10, 2),
        ("numeric", (5 << 16 | (-2 & 0x7FF)) + 4, 5, -2),
        ("numeric", (1000 << 16 | 1000) + 4, 1000, 1000),
        ("money", -1, None, 2),
        ("varchar", 14, 10, None),
        ("bpchar", 5, 1, None),
        ("text", -1, None, None),
        ("bit", 1, 1, None),
        ("varbit", -1, None, None),
        ("time", 3, 3, None),
        ("timestamp", 0, 0, None),
        ("timestamptz", 6, 6, None),
        ("interval", 0x7FFF << 16 | 3, 3, None),
        ("interval", 4 << 16 | 0xFFFF, None, None),
        ("vector", 1536, 1536, None),
        ("positive", -1, 10, 2),
        ("positives", -1, 10, 2),
        ("pair", -1, None, None),
    ],
)
def test_modifier(name: str, modifier: int, precision: int | None, scale: int | None) -> None:
    found = column(OID.get(name) or POSITIVES, modifier)
    assert (found.precision, found.scale, found.modifier) == (precision, scale, modifier)


@pytest.mark.parametrize(
    ("type_oid", "logical", "element", "type_name"),
    [
        (OID["int4"], LogicalType.INT32, None, "int4"),
        (OID["oid"], LogicalType.UINT32, None, "oid"),
        (OID["money"], LogicalType.DECIMAL, None, "money"),
        (OID["jsonb"], LogicalType.JSON, None, "jsonb"),
        (OID["bpchar"], LogicalType.TEXT, None, "bpchar"),
        (OID["int2vector"], LogicalType.TEXT, None, "int2vector"),
        (OID["point"], LogicalType.GEOMETRIC, None, "point"),
        (OID["int8multirange"], LogicalType.RANGE, None, "int8multirange"),
        (ARRAY["timestamptz"], LogicalType.ARRAY, LogicalType.TIMESTAMPTZ, "timestamptz[]"),
        (ARRAY["int2vector"], LogicalType.ARRAY, LogicalType.TEXT, "int2vector[]"),
        (MOOD, LogicalType.ENUM, None, "public.mood"),
        (MOODS, LogicalType.ARRAY, LogicalType.ENUM, "public.mood[]"),
        (POSITIVE, LogicalType.DECIMAL, None, "public.positive"),
        (POSITIVES, LogicalType.ARRAY, LogicalType.DECIMAL, "public.positive[]"),
        (GRID, LogicalType.ARRAY, LogicalType.INT32, "public.grid"),
        (PAIR, LogicalType.COMPOSITE, None, "public.pair"),
        (PAIRS, LogicalType.ARRAY, LogicalType.COMPOSITE, "public.pair[]"),
        (HSTORE, LogicalType.MAP, None, "public.hstore"),
        (VECTOR, LogicalType.VECTOR, None, "public.vector"),
        (HALFVEC, LogicalType.VECTOR, None, "ext.halfvec"),
        (SPARSEVEC, LogicalType.SPARSE, None, "public.sparsevec"),
        (GEOMETRY, LogicalType.SPATIAL, None, "public.geometry"),
        (RANGE, LogicalType.RANGE, None, "public.floatrange"),
        (CITEXT, LogicalType.TEXT, None, "public.citext"),
        (99999, LogicalType.TEXT, None, "oid 99999"),
    ],
)
def test_column(type_oid: int, logical: LogicalType, element: LogicalType | None, type_name: str) -> None:
    found = column(type_oid)
    assert (found.type, found.element, found.type_name, found.type_id) == (logical, element, type_name, type_oid)


def test_unknown_type_is_copied() -> None:
    assert reader_for(99999, -1, USER_TYPES) is None


def test_a_name_means_an_extension_only_for_a_type_of_the_kind_that_extensions_make() -> None:
    types = {40000: TypeInfo(40000, "public.vector", "e", "E", labels=("[",))}
    assert column_for("c", 40000, -1, types).type is LogicalType.ENUM
    assert reader_for(40000, -1, types) is None


@pytest.mark.parametrize("info", USER_TYPES.values(), ids=lambda info: info.name)
def test_type_info_survives_json(info: TypeInfo) -> None:
    assert TypeInfo.from_json(json.loads(json.dumps(info.to_json()))) == info


def test_a_later_versions_additions_are_ignored() -> None:
    stored = {**USER_TYPES[MOOD].to_json(), "collation": "C"}
    assert TypeInfo.from_json(stored) == USER_TYPES[MOOD]


def test_catalog_rows_give_the_user_defined_types_alone() -> None:
    rows: list[tuple[str | bytes]] = [
        (json.dumps(USER_TYPES[PAIR].to_json()),),
        (b'{"oid": 23, "name": "int4", "kind": "b"}',),
    ]
    assert parse_catalog_rows(rows) == {PAIR: USER_TYPES[PAIR]}


def test_catalog_knows_built_in_types_first() -> None:
    catalog = TypeCatalog({23: TypeInfo(23, "s.fake", "e"), **USER_TYPES})
    found = catalog.lookup(23)
    assert found is not None and found.name == "int4"
    assert catalog.lookup(MOOD) is USER_TYPES[MOOD]
    assert catalog.lookup(99999) is None


@unhurried
@given(st.sampled_from(sorted(LogicalType)), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_an_element_is_written_as_the_encoder_writes_a_column(logical: LogicalType, text: str) -> None:
    canonical = {RAW: b"true", FLOAT: b"1e+20", PLAIN: b"-1.50"}.get(FORMS[logical], text.encode())
    out = bytearray()
    append_value(out, canonical, 0, len(canonical), FORMS[logical])
    if logical in INTEGERS:
        canonical, out = b"-7", bytearray(b"-7")
    assert json_element(logical)(canonical) == out
    json.loads(out)
