"""The script that Debezium and we are given: the same statements, in the same transactions, on the same server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

END: Final = "the_end"  # the table whose row says that everything before it has come through
LARGE: Final = "repeat(md5(random()::text), 300)"

SETUP: Final = (
    "CREATE TYPE mood AS ENUM ('sad', 'so, so')",
    "CREATE TYPE pair AS (n int, t text)",
    "CREATE DOMAIN positive AS numeric(8,2) CHECK (VALUE > 0)",
    "CREATE TABLE plain (id int PRIMARY KEY, a text, n int NOT NULL)",
    "CREATE TABLE composite (a int, b int, note text, PRIMARY KEY (b, a))",
    "CREATE TABLE whole (id int PRIMARY KEY, a text, n int NOT NULL)",
    "ALTER TABLE whole REPLICA IDENTITY FULL",
    "CREATE TABLE keyless (a int, b text)",
    "ALTER TABLE keyless REPLICA IDENTITY FULL",
    "CREATE TABLE by_index (id int PRIMARY KEY, a int NOT NULL, note text)",
    "CREATE UNIQUE INDEX by_index_a ON by_index (a)",
    "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a",
    "CREATE TABLE large (id int PRIMARY KEY, small int, big text, bytes bytea)",
    "ALTER TABLE large ALTER big SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL",
    """CREATE TABLE common (id int PRIMARY KEY, flag boolean, i2 smallint, i8 bigint, f4 real, f8 double precision,
        price numeric(10,2), any_number numeric, cash money, c char(5), v varchar(20), raw bytea, d date, t time, ttz timetz,
        ts timestamp, ts3 timestamp(3), tstz timestamptz, pause interval, u uuid, j json, jb jsonb, x xml, bits bit(4), vbits varbit)""",
    """CREATE TABLE special (id int PRIMARY KEY, feeling mood, amount positive, both_of pair, span int4range, spans int4multirange,
        address inet, net cidr, card macaddr, place point, shape box, ring circle, lexemes tsvector, query tsquery, place_in_log pg_lsn,
        who name, tx xid, o oid, list int[], words text[], grid int[][], moods mood[], amounts positive[], pairs pair[])""",
    f"CREATE TABLE {END} (id int PRIMARY KEY)",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction."""

    name: str
    statements: tuple[str, ...]


_COMMON = """(1, true, -1, 9007199254740993, 1.5, 0.1, 123.45, 123.4500, '1234.56', 'ab', 'text', '\\x00ff', '2024-02-29', '13:14:15.123456',
    '13:14:15+02', '2024-02-29 13:14:15.123456', '2024-02-29 13:14:15.120', '2024-02-29 13:14:15+02', '1 year 2 mons 3 days',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '{"a": [1, null]}', '<a/>', '1010', '101')"""
_SPECIAL = """(1, 'so, so', 2.5, ROW(1, 'x'), '[1,5)', '{[1,3),[5,7)}', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '(1.5,2.5)',
    '((3,4),(1,2))', '<(1,2),3>', 'a b', 'a & b', '16/B374D848', 'someone', '7', 7, '{1,NULL,3}', '{a,NULL,"b,c"}', '{{1,2},{3,4}}',
    '{sad,NULL}', '{1.5}', ARRAY[ROW(1, 'x')::pair])"""

STEPS: Final = (
    Step("insert", ("INSERT INTO plain VALUES (1, 'one', 1), (2, NULL, 2)",)),
    Step("update", ("UPDATE plain SET a = 'uno' WHERE id = 1",)),
    Step("key change", ("UPDATE plain SET id = 10 WHERE id = 1",)),
    Step("delete", ("DELETE FROM plain WHERE id = 2",)),
    Step(
        "composite",
        (
            "INSERT INTO composite VALUES (1, 2, 'x')",
            "UPDATE composite SET note = 'y'",
            "UPDATE composite SET a = 3",
            "DELETE FROM composite",
        ),
    ),
    Step(
        "full identity",
        (
            "INSERT INTO whole VALUES (1, 'one', 1)",
            "UPDATE whole SET a = NULL",
            "UPDATE whole SET id = 2",
            "DELETE FROM whole",
        ),
    ),
    Step(
        "keyless",
        ("INSERT INTO keyless VALUES (1, 'x')", "UPDATE keyless SET b = 'y'", "DELETE FROM keyless"),
    ),
    Step(
        "identity by index",
        (
            "INSERT INTO by_index VALUES (1, 2, 'x')",
            "UPDATE by_index SET note = 'y'",
            "DELETE FROM by_index",
        ),
    ),
    Step("large", (f"INSERT INTO large SELECT 1, 1, {LARGE}, convert_to({LARGE}, 'UTF8')",)),
    Step("large untouched", ("UPDATE large SET small = 2",)),
    Step("large set", (f"UPDATE large SET big = {LARGE}",)),
    Step("common types", (f"INSERT INTO common VALUES {_COMMON}", "INSERT INTO common (id) VALUES (2)")),
    Step(
        "values that are no numbers",
        (
            "INSERT INTO common (id, f4, f8, price, any_number) VALUES (3, 'NaN', '-Infinity', 'NaN', 'NaN')",
            "INSERT INTO common (id, d, ts, tstz) VALUES (4, 'infinity', '-infinity', 'infinity')",
            "INSERT INTO common (id, d, ts) VALUES (5, '0044-03-15 BC', '0044-03-15 00:00:00 BC')",
        ),
    ),
    Step("special types", (f"INSERT INTO special VALUES {_SPECIAL}", "INSERT INTO special (id) VALUES (2)")),
    Step(
        "message",
        (
            "INSERT INTO plain VALUES (20, 'before', 1)",
            "SELECT pg_logical_emit_message(true, 'p', 'content')",
            "INSERT INTO plain VALUES (21, 'after', 1)",
        ),
    ),
    Step("message outside", ("SELECT pg_logical_emit_message(false, 'p', 'at once')",)),
    Step("truncate", ("TRUNCATE plain, composite",)),
    Step("end", (f"INSERT INTO {END} VALUES (1)",)),
)
