"""The types that every server has, with their OIDs and what they are to us.

Generated from version 18 by the query below; the OIDs are the same in every version that has the type, and a test
compares the table with pg_type of each. A type that came later is read from the catalog like a user-defined one.

    SELECT typname, t.oid, typarray, typtype, typcategory, typdelim, COALESCE(rngsubtype, 0)
    FROM pg_type AS t LEFT JOIN pg_range AS r ON t.oid IN (r.rngtypid, r.rngmultitypid)
    WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typoutput <> 'array_out'::regproc
    ORDER BY t.oid

int2vector and oidvector call themselves arrays but print `1 2 3`: text, like the names that reg* print and the
planner's private types.
"""

from __future__ import annotations

from typing import Final

from cdc.model.types import LogicalType

# name, OID, OID of the array type, typtype, typcategory, typdelim, subtype of a range, logical type
BUILTIN_TYPES: Final = (
    ("bool", 16, 1000, "b", "B", ",", 0, LogicalType.BOOL),
    ("bytea", 17, 1001, "b", "U", ",", 0, LogicalType.BYTES),
    ("char", 18, 1002, "b", "Z", ",", 0, LogicalType.TEXT),
    ("name", 19, 1003, "b", "S", ",", 0, LogicalType.TEXT),
    ("int8", 20, 1016, "b", "N", ",", 0, LogicalType.INT64),
    ("int2", 21, 1005, "b", "N", ",", 0, LogicalType.INT16),
    ("int2vector", 22, 1006, "b", "A", ",", 0, LogicalType.TEXT),
    ("int4", 23, 1007, "b", "N", ",", 0, LogicalType.INT32),
    ("regproc", 24, 1008, "b", "N", ",", 0, LogicalType.TEXT),
    ("text", 25, 1009, "b", "S", ",", 0, LogicalType.TEXT),
    ("oid", 26, 1028, "b", "N", ",", 0, LogicalType.UINT32),
    ("tid", 27, 1010, "b", "U", ",", 0, LogicalType.TEXT),
    ("xid", 28, 1011, "b", "U", ",", 0, LogicalType.UINT32),
    ("cid", 29, 1012, "b", "U", ",", 0, LogicalType.UINT32),
    ("oidvector", 30, 1013, "b", "A", ",", 0, LogicalType.TEXT),
    ("json", 114, 199, "b", "U", ",", 0, LogicalType.JSON),
    ("xml", 142, 143, "b", "U", ",", 0, LogicalType.XML),
    ("pg_node_tree", 194, 0, "b", "Z", ",", 0, LogicalType.TEXT),
    ("point", 600, 1017, "b", "G", ",", 0, LogicalType.GEOMETRIC),
    ("lseg", 601, 1018, "b", "G", ",", 0, LogicalType.GEOMETRIC),
    ("path", 602, 1019, "b", "G", ",", 0, LogicalType.GEOMETRIC),
    ("box", 603, 1020, "b", "G", ";", 0, LogicalType.GEOMETRIC),
    ("polygon", 604, 1027, "b", "G", ",", 0, LogicalType.GEOMETRIC),
    ("line", 628, 629, "b", "G", ",", 0, LogicalType.GEOMETRIC),
    ("cidr", 650, 651, "b", "I", ",", 0, LogicalType.TEXT),
    ("float4", 700, 1021, "b", "N", ",", 0, LogicalType.FLOAT32),
    ("float8", 701, 1022, "b", "N", ",", 0, LogicalType.FLOAT64),
    ("circle", 718, 719, "b", "G", ",", 0, LogicalType.GEOMETRIC),
    ("macaddr8", 774, 775, "b", "U", ",", 0, LogicalType.TEXT),
    ("money", 790, 791, "b", "N", ",", 0, LogicalType.DECIMAL),
    ("macaddr", 829, 1040, "b", "U", ",", 0, LogicalType.TEXT),
    ("inet", 869, 1041, "b", "I", ",", 0, LogicalType.TEXT),
    ("aclitem", 1033, 1034, "b", "U", ",", 0, LogicalType.TEXT),
    ("bpchar", 1042, 1014, "b", "S", ",", 0, LogicalType.TEXT),
    ("varchar", 1043, 1015, "b", "S", ",", 0, LogicalType.TEXT),
    ("date", 1082, 1182, "b", "D", ",", 0, LogicalType.DATE),
    ("time", 1083, 1183, "b", "D", ",", 0, LogicalType.TIME),
    ("timestamp", 1114, 1115, "b", "D", ",", 0, LogicalType.TIMESTAMP),
    ("timestamptz", 1184, 1185, "b", "D", ",", 0, LogicalType.TIMESTAMPTZ),
    ("interval", 1186, 1187, "b", "T", ",", 0, LogicalType.INTERVAL),
    ("timetz", 1266, 1270, "b", "D", ",", 0, LogicalType.TIMETZ),
    ("bit", 1560, 1561, "b", "V", ",", 0, LogicalType.BITS),
    ("varbit", 1562, 1563, "b", "V", ",", 0, LogicalType.BITS),
    ("numeric", 1700, 1231, "b", "N", ",", 0, LogicalType.DECIMAL),
    ("refcursor", 1790, 2201, "b", "U", ",", 0, LogicalType.TEXT),
    ("regprocedure", 2202, 2207, "b", "N", ",", 0, LogicalType.TEXT),
    ("regoper", 2203, 2208, "b", "N", ",", 0, LogicalType.TEXT),
    ("regoperator", 2204, 2209, "b", "N", ",", 0, LogicalType.TEXT),
    ("regclass", 2205, 2210, "b", "N", ",", 0, LogicalType.TEXT),
    ("regtype", 2206, 2211, "b", "N", ",", 0, LogicalType.TEXT),
    ("uuid", 2950, 2951, "b", "U", ",", 0, LogicalType.UUID),
    ("txid_snapshot", 2970, 2949, "b", "U", ",", 0, LogicalType.TEXT),
    ("pg_lsn", 3220, 3221, "b", "U", ",", 0, LogicalType.TEXT),
    ("pg_ndistinct", 3361, 0, "b", "Z", ",", 0, LogicalType.TEXT),
    ("pg_dependencies", 3402, 0, "b", "Z", ",", 0, LogicalType.TEXT),
    ("tsvector", 3614, 3643, "b", "U", ",", 0, LogicalType.TEXT),
    ("tsquery", 3615, 3645, "b", "U", ",", 0, LogicalType.TEXT),
    ("gtsvector", 3642, 3644, "b", "U", ",", 0, LogicalType.TEXT),
    ("regconfig", 3734, 3735, "b", "N", ",", 0, LogicalType.TEXT),
    ("regdictionary", 3769, 3770, "b", "N", ",", 0, LogicalType.TEXT),
    ("jsonb", 3802, 3807, "b", "U", ",", 0, LogicalType.JSON),
    ("int4range", 3904, 3905, "r", "R", ",", 23, LogicalType.RANGE),
    ("numrange", 3906, 3907, "r", "R", ",", 1700, LogicalType.RANGE),
    ("tsrange", 3908, 3909, "r", "R", ",", 1114, LogicalType.RANGE),
    ("tstzrange", 3910, 3911, "r", "R", ",", 1184, LogicalType.RANGE),
    ("daterange", 3912, 3913, "r", "R", ",", 1082, LogicalType.RANGE),
    ("int8range", 3926, 3927, "r", "R", ",", 20, LogicalType.RANGE),
    ("jsonpath", 4072, 4073, "b", "U", ",", 0, LogicalType.TEXT),
    ("regnamespace", 4089, 4090, "b", "N", ",", 0, LogicalType.TEXT),
    ("regrole", 4096, 4097, "b", "N", ",", 0, LogicalType.TEXT),
    ("regcollation", 4191, 4192, "b", "N", ",", 0, LogicalType.TEXT),
    ("int4multirange", 4451, 6150, "m", "R", ",", 23, LogicalType.RANGE),
    ("nummultirange", 4532, 6151, "m", "R", ",", 1700, LogicalType.RANGE),
    ("tsmultirange", 4533, 6152, "m", "R", ",", 1114, LogicalType.RANGE),
    ("tstzmultirange", 4534, 6153, "m", "R", ",", 1184, LogicalType.RANGE),
    ("datemultirange", 4535, 6155, "m", "R", ",", 1082, LogicalType.RANGE),
    ("int8multirange", 4536, 6157, "m", "R", ",", 20, LogicalType.RANGE),
    ("pg_brin_bloom_summary", 4600, 0, "b", "Z", ",", 0, LogicalType.TEXT),
    ("pg_brin_minmax_multi_summary", 4601, 0, "b", "Z", ",", 0, LogicalType.TEXT),
    ("pg_mcv_list", 5017, 0, "b", "Z", ",", 0, LogicalType.TEXT),
    ("pg_snapshot", 5038, 5039, "b", "U", ",", 0, LogicalType.TEXT),
    ("xid8", 5069, 271, "b", "U", ",", 0, LogicalType.TEXT),
)

LOGICAL_TYPES: Final = {oid: logical for _, oid, *_, logical in BUILTIN_TYPES}
