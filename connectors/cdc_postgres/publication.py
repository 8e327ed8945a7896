"""The publication: what it should be, and the SQL that makes it so. Pure but for `ensure`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdc.errors import SettingsError
from cdc_postgres.catalog import TableState
from cdc_postgres.connection import Connection
from cdc_postgres.sql import quote_identifier


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


def add_table(name: str, table: TableState) -> str:
    return f"ALTER PUBLICATION {quote_identifier(name)} ADD TABLE {table.quoted}"


def missing_tables(state: PublicationState, tables: Sequence[TableState]) -> list[TableState]:
    """Selected, publishable, and not in the publication."""
    if state.all_tables:
        return []
    return [table for table in tables if table.publishable and (table.schema, table.name) not in state.tables]


def join_tables(connection: Connection, name: str, missing: Sequence[TableState], warn: Callable[[str], None]) -> None:
    """Tables that the selection names and the publication lacks join where the role owns them; else one warning with the SQL."""
    for table in missing:
        statement = add_table(name, table)
        if not table.owned:
            warn(statement)
            continue
        try:
            connection.query(statement)
        except SettingsError:
            warn(statement)
