"""The headline workload: `w200`, ten columns of about 190 bytes of row, 60 % inserts, 30 % updates, 10 % deletes.

Written by the server itself in transactions of 1 000 rows, so that the backlog is the same bytes for every reader.
"""

from __future__ import annotations

from tests.servers.postgres import PostgresServer

ROWS_PER_TRANSACTION = 1000

_TABLE = """
CREATE TABLE w200 (
    id bigint PRIMARY KEY, a int NOT NULL, b int NOT NULL, c bigint NOT NULL, name text NOT NULL, city text NOT NULL,
    price numeric(12,2) NOT NULL, at timestamptz NOT NULL, ok boolean NOT NULL, token uuid NOT NULL, version int NOT NULL DEFAULT 0
)"""
_FILL = """
CREATE PROCEDURE fill(blocks int) LANGUAGE plpgsql AS $$
BEGIN
    FOR block IN 0 .. blocks - 1 LOOP
        INSERT INTO w200 SELECT n, n % 1000, n % 7, n * 13, 'customer number ' || n, 'city of ' || n % 500, n % 10000 / 100.0,
            '2024-01-01'::timestamptz + n * interval '1 second', n % 2 = 0, md5(n::text)::uuid
        FROM generate_series(block * 1000, block * 1000 + 999) n;
        COMMIT;
    END LOOP;
END $$"""
_CHANGE = """
CREATE PROCEDURE change(updates int, deletes int) LANGUAGE plpgsql AS $$
BEGIN
    FOR block IN 0 .. updates - 1 LOOP
        UPDATE w200 SET a = a + 1, name = name || '!', version = version + 1 WHERE id BETWEEN block * 1000 AND block * 1000 + 999;
        COMMIT;
    END LOOP;
    FOR block IN 0 .. deletes - 1 LOOP
        DELETE FROM w200 WHERE id BETWEEN block * 1000 AND block * 1000 + 999;
        COMMIT;
    END LOOP;
END $$"""


def prepare(server: PostgresServer, database: str) -> None:
    for statement in (_TABLE, _FILL, _CHANGE):
        server.execute(statement, dbname=database)


def write(server: PostgresServer, database: str, changes: int) -> int:
    """Write the backlog; returns the number of changes, which is `changes` rounded to whole blocks of the mix."""
    blocks = max(10, changes // ROWS_PER_TRANSACTION) // 10 * 10
    inserts, updates, deletes = blocks * 6 // 10, blocks * 3 // 10, blocks // 10
    server.execute(f"CALL fill({inserts})", dbname=database)
    server.execute(f"CALL change({updates}, {deletes})", dbname=database)
    server.execute("CHECKPOINT", dbname=database)
    return (inserts + updates + deletes) * ROWS_PER_TRANSACTION
