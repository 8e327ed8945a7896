"""The publication: what it should be, and the SQL that makes it so. Pure but for `ensure`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdc.errors import SettingsError
from cdc.model.selection import parse_selection
from cdc_postgres.catalog import TableState
from cdc_postgres.connection import Connection
from cdc_postgres.settings import PostgresSettings
from cdc_postgres.sql import quote_identifier

# A table that is being vacuumed or indexed joins later: the loop that asks has a stream to keep alive.
LOCK_PATIENCE = "SET LOCAL lock_timeout = '500ms'"


@dataclass(frozen=True, slots=True)
class PublicationState:
    """The publication as the catalog has it now; `tables` are schema and name of each published table, roots for partitions."""

    oid: int
    all_tables: bool
    via_root: bool
    operations: str
    tables: frozenset[tuple[str, str]]


PUBLICATION_QUERY = (
    "SELECT p.oid::text, p.puballtables::text, p.pubviaroot::text, concat_ws(',', CASE WHEN p.pubinsert THEN 'insert' END, "
    "CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END), "
    "t.schemaname, t.tablename FROM pg_publication p LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname WHERE p.pubname = {name}"
)


def publication_query(name_literal: str) -> str:
    return PUBLICATION_QUERY.format(name=name_literal)


def parse_publication(rows: Sequence[Sequence[str | None]]) -> PublicationState | None:
    if not rows:
        return None
    oid, every, root, operations, _, _ = rows[0]
    tables = frozenset((schema, name) for *_, schema, name in rows if schema and name)
    return PublicationState(int(oid or 0), every == "true", root == "true", operations or "", tables)


def create_publication(name: str, tables: Sequence[TableState], server_version: int) -> str:
    """By root, so that a row keeps its topic when partitions change; stored generated columns where the server can (18)."""
    options = ["publish_via_partition_root = true"]
    if server_version >= 180000:
        options.append("publish_generated_columns = stored")
    listed = ", ".join(table.quoted for table in tables)
    return (
        f"CREATE PUBLICATION {quote_identifier(name)}"
        + (f" FOR TABLE {listed}" if listed else "")
        + f" WITH ({', '.join(options)})"
    )


def touch_publication(name: str) -> str:
    """Changes nothing, and makes every walsender look again at what it publishes."""
    return f"ALTER PUBLICATION {quote_identifier(name)} SET (publish_via_partition_root = true)"


def add_table(name: str, table: TableState) -> str:
    return f"ALTER PUBLICATION {quote_identifier(name)} ADD TABLE {table.quoted}"


def missing_tables(state: PublicationState, tables: Sequence[TableState]) -> list[TableState]:
    """Selected, publishable, and not in the publication."""
    if state.all_tables:
        return []
    return [table for table in tables if table.publishable and (table.schema, table.name) not in state.tables]


def without_identity(tables: Sequence[TableState], keyless: str) -> list[TableState]:
    """Those whose UPDATE and DELETE would fail in the application once they are published, and that nobody opted in (P16)."""
    try:
        allowed = parse_selection(keyless) if keyless else None
    except ValueError as wrong:
        raise SettingsError(f"CDC_POSTGRES_KEYLESS: {wrong}", action="Correct CDC_POSTGRES_KEYLESS.") from None
    return [t for t in tables if not t.keyed and not (allowed and allowed.matches(t.schema, t.name))]


def give_identity(table: TableState) -> str:
    """What the operator may do about a table without an identity."""
    return (
        f"Give it a primary key, or run: ALTER TABLE {table.quoted} REPLICA IDENTITY FULL; or name it in CDC_POSTGRES_KEYLESS, if "
        "nothing ever updates or deletes its rows; or exclude it in CDC_TABLES."
    )


def join_tables(
    connection: Connection,
    name: str,
    missing: Sequence[TableState],
    settings: PostgresSettings,
    warn: Callable[[TableState, str], None],
) -> None:
    """Tables that the selection names and the publication lacks join where the role owns them; else one warning with what to do."""
    harmful = without_identity(missing, settings.keyless)
    allowed = "publication" in settings.create
    for table in missing:
        statement = add_table(name, table)
        if table in harmful:
            warn(table, give_identity(table))
            continue
        if not (allowed and table.owned):
            warn(table, f"Run: {statement};")
            continue
        try:
            connection.query(f"{LOCK_PATIENCE}; {statement}")
        except SettingsError:
            warn(table, f"Run: {statement};")
