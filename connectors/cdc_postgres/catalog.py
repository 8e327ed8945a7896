"""Questions to the live catalog, on a plain SQL connection that is opened when first needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc.model.selection import TableSelection
from cdc_postgres.connection import Connection, ConnectionOptions
from cdc_postgres.sql import Rows, quote_identifier
from cdc_postgres.types import CATALOG_QUERY, TypeInfo, parse_catalog_rows

_PRIMARY_KEY = (
    "SELECT a.attname FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place) "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE i.indrelid = {oid} AND i.indisprimary "
    "AND k.place <= i.indnkeyatts ORDER BY k.place"
)
# A partition goes by its root: only tables that are no partition, or whose root nobody selected, are candidates.
_TABLES = (
    "SELECT n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, pg_has_role(c.relowner, 'USAGE')::text, "
    "EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)::text, "
    "has_table_privilege(c.oid, 'SELECT')::text, c.relispartition::text, rn.nspname, rc.relname, "
    "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped)::text, "
    "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstorage <> 'p' AND a.attnum > 0 AND NOT a.attisdropped)::text, "
    "EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)::text "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_class rc ON c.relispartition AND rc.oid = pg_partition_root(c.oid) LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' "
    "ORDER BY 1, 2"
)


@dataclass(frozen=True, slots=True)
class TableState:
    """A table that the selection names, as the catalog has it now."""

    schema: str
    name: str
    kind: str
    persistence: str
    identity: str
    owned: bool
    primary_key: bool
    readable: bool
    partition: bool
    generated: bool
    toastable: bool
    identity_index: bool

    @property
    def qualified_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"

    @property
    def publishable(self) -> bool:
        """Foreign and unlogged tables are not in the log."""
        return self.kind in "rp" and self.persistence == "p"

    @property
    def keyed(self) -> bool:
        """Whether an UPDATE or DELETE can name its row in the log."""
        return {"d": self.primary_key, "i": self.identity_index, "f": True}.get(self.identity, False)


TABLES_QUERY = _TABLES


def parse_tables(rows: Rows, selection: TableSelection) -> list[TableState]:
    """The selected tables; a partition only where its root is not selected too."""
    found = []
    for (
        schema,
        name,
        kind,
        persistence,
        identity,
        owned,
        keyed,
        readable,
        partition,
        root_schema,
        root,
        generated,
        toast,
        index,
    ) in rows:
        assert schema and name and kind and persistence and identity
        if not selection.matches(schema, name):
            continue
        if partition == "true" and root and root_schema and selection.matches(root_schema, root):
            continue
        yes = [value == "true" for value in (owned, keyed, readable, partition, generated, toast, index)]
        found.append(TableState(schema, name, kind, persistence, identity, *yes))
    return found


def tables_alone(rows: Rows) -> frozenset[tuple[str, str]]:
    """Schema and name of all tables that are no partition."""
    return frozenset((str(row[0]), str(row[1])) for row in rows if row[8] != "true")


def newly_attached(rows: Rows, alone: frozenset[tuple[str, str]], selection: TableSelection) -> list[str]:
    """Qualified names of partitions of selected roots that were tables of their own at the last look."""
    return [
        f"{schema}.{name}"
        for schema, name, *_, partition, root_schema, root in (row[:2] + row[8:11] for row in rows)
        if partition == "true" and (schema, name) in alone and selection.matches(str(root_schema), str(root))
    ]


class Catalog:
    """Implements `relations.CatalogFacts`."""

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._options, replication=False)
        return self._connection

    def query(self, sql: str) -> Rows:
        try:
            return self.connection().query(sql)
        except Exception:
            self.close()
            raise

    def primary_key(self, relation_oid: int) -> tuple[str, ...]:
        return tuple(name for (name,) in self.query(_PRIMARY_KEY.format(oid=int(relation_oid))) if name)

    def types(self, oids: Sequence[int]) -> dict[int, TypeInfo]:
        listed = "ARRAY[" + ",".join(str(int(oid)) for oid in oids) + "]::oid[]"
        return parse_catalog_rows(self._complete(CATALOG_QUERY.replace("$1", listed)))

    def _complete(self, sql: str) -> list[tuple[str, ...]]:
        """Rows of a query that yields no NULL."""
        return [tuple(value or "" for value in row) for row in self.query(sql)]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
