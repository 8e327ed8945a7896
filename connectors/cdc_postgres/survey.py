"""What the server has, asked once for each thing, by one plain connection: the ground of `cdc check` and `cdc setup`.

Only asks; what the answers mean is decided in `preflight` and `setup`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from cdc.model.selection import parse_selection
from cdc.ports import ConnectorContext
from cdc_postgres.catalog import TABLES_QUERY, TableState, parse_tables
from cdc_postgres.commands import SlotState, SystemIdentity, parse_identify_system, parse_slot, slot_query
from cdc_postgres.connection import Connection
from cdc_postgres.identity import connection_options, publication_name, slot_name
from cdc_postgres.publication import PublicationState, parse_publication, publication_query, without_identity
from cdc_postgres.sql import Rows, quote_identifier
from cdc_postgres.survey_queries import (
    EXTRAS,
    FILTERS,
    MEMBERS,
    OTHER_KINDS,
    OWNER,
    OWNER_18,
    RELATED,
    RIGHTS,
    ROLE,
    SETTINGS,
)

NEWEST: Final = 18
ALL_TABLES: Final = parse_selection("*.*")
_PLACE: Final = re.compile(r"\$([a-z]+)")


@dataclass(frozen=True, slots=True)
class RoleState:
    """One row of pg_roles, and what it may do in this database."""

    name: str
    bootstrap: bool
    login: bool
    superuser: bool
    replication: bool
    excess: tuple[str, ...]
    connect: bool
    create: bool

    @property
    def quoted(self) -> str:
        return quote_identifier(self.name)


@dataclass(frozen=True, slots=True)
class Computed:
    """A virtual generated column (18): its type and expression, to write it down again."""

    name: str
    type: str
    expression: str


@dataclass(frozen=True, slots=True)
class TableRights:
    """What the role may do with a table."""

    usage: bool
    select: bool


@dataclass(frozen=True, slots=True)
class TableExtras:
    """What matters for capture beside `TableState`. No name is quoted."""

    stored: tuple[str, ...]
    virtual: tuple[Computed, ...]
    toastable: tuple[str, ...]
    identity: tuple[str, ...]
    candidate: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """A partition that holds rows; its identity is its own, whatever its root's is."""

    schema: str
    name: str
    identity: str
    keyed: bool

    @property
    def quoted(self) -> str:
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"


@dataclass(frozen=True, slots=True)
class Related:
    """Partitions below, tables above, and tables that inherit without being partitions."""

    leaves: tuple[Leaf, ...] = ()
    ancestors: tuple[tuple[str, str], ...] = ()
    heirs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Restriction:
    """A published table with a column list, a row filter or both."""

    columns: tuple[str, ...]
    condition: str


@dataclass(frozen=True, slots=True)
class PublicationExtras:
    """`generated` says whether stored generated columns are published; None where the server cannot (before 18)."""

    owned: bool
    generated: bool | None
    restrictions: dict[tuple[str, str], Restriction]


class Survey:
    """Through the eyes of `connection`'s user; rights are those of `role`."""

    def __init__(self, context: ConnectorContext, connection: Connection, role: str) -> None:
        self.context = context
        self.slot_name = slot_name(context)
        self.publication_name = publication_name(context)
        self._connection = connection
        self._names = {
            "role": connection.literal(role),
            "publication": connection.literal(self.publication_name),
        }

    @property
    def version(self) -> int:
        """As 18."""
        return self._connection.server_version // 10000

    @property
    def tls_in_use(self) -> bool:
        return self._connection.tls_in_use

    def query(self, sql: str, **names: str) -> Rows:
        """Each `$name` in `sql` stands for a literal; all are filled in at once, for a name may hold a dollar itself."""
        literals = self._names | {key: self.literal(name) for key, name in names.items()}
        return self._connection.query(_PLACE.sub(lambda found: literals[found[1]], sql))

    def literal(self, text: str) -> str:
        return self._connection.literal(text)

    @cached_property
    def database(self) -> str:
        return self.query("SELECT current_database()")[0][0] or ""

    @cached_property
    def settings(self) -> dict[str, int | str]:
        """By name: a number in the setting's own unit, or its text."""
        rows = self.query(SETTINGS)
        return {str(name): int(value or 0) if kind == "integer" else value or "" for name, value, kind in rows}

    def number(self, name: str) -> int:
        return int(self.settings[name])

    @cached_property
    def role(self) -> RoleState | None:
        rows = self.query(ROLE)
        if not rows:
            return None
        name, *flags, createrole, createdb = rows[0]
        bootstrap, login, superuser, replication, connect, create = (flag == "true" for flag in flags)
        excess = [word for word, has in (("CREATEROLE", createrole), ("CREATEDB", createdb)) if has == "true"]
        return RoleState(
            name or "", bootstrap, login, superuser, replication, tuple(excess), connect=connect, create=create
        )

    @cached_property
    def all_tables(self) -> Rows:
        return self.query(TABLES_QUERY)

    @cached_property
    def tables(self) -> list[TableState]:
        return parse_tables(self.all_tables, self.context.selection)

    @cached_property
    def others(self) -> list[TableState]:
        """Tables that were not selected."""
        selected = {(table.schema, table.name) for table in self.tables}
        everything = parse_tables(self.all_tables, ALL_TABLES)
        return [table for table in everything if (table.schema, table.name) not in selected]

    @cached_property
    def rights(self) -> dict[tuple[str, str], TableRights]:
        rows = self.query(RIGHTS)
        return {
            (str(schema), str(name)): TableRights(usage == "true", select == "true")
            for schema, name, usage, select in rows
        }

    @cached_property
    def extras(self) -> dict[tuple[str, str], TableExtras]:
        return {(str(row[0]), str(row[1])): _extras(row) for row in self.query(EXTRAS)}

    @cached_property
    def related(self) -> dict[tuple[str, str], Related]:
        return {
            (str(schema), str(name)): Related(
                tuple(Leaf(*leaf) for leaf in _json(leaves)), _pairs(ancestors), _pairs(heirs)
            )
            for schema, name, leaves, ancestors, heirs in self.query(RELATED)
        }

    def other_kind(self, schema: str, name: str) -> tuple[str, str] | None:
        """Kind and persistence of a relation that is no table to capture; None where there is nothing of that name."""
        rows = self.query(OTHER_KINDS, schema=schema, name=name)
        return (rows[0][0] or "", rows[0][1] or "") if rows else None

    @cached_property
    def slot(self) -> SlotState | None:
        return parse_slot(
            self._connection.query(slot_query(self.literal(self.slot_name), self._connection.server_version))
        )

    @cached_property
    def publication(self) -> PublicationState | None:
        return parse_publication(self._connection.query(publication_query(self.literal(self.publication_name))))

    @cached_property
    def _members(self) -> set[tuple[str, str]]:
        return {(str(schema), str(name)) for schema, name in self.query(MEMBERS)}

    def published(self, table: TableState) -> bool:
        state, name = self.publication, (table.schema, table.name)
        return state is not None and (state.all_tables or name in state.tables or name in self._members)

    @cached_property
    def harmful(self) -> list[TableState]:
        """Tables that must not be published: the application's own UPDATE and DELETE would fail in them (P16)."""
        return [table for table in self.tables if self._harmful(table) and not self.opted_in(table)]

    def _harmful(self, table: TableState) -> bool:
        hidden = self.version >= 18 and table.identity == "f" and self.extras[table.schema, table.name].virtual
        return not table.keyed or bool(hidden) or not all(leaf.keyed for leaf in self.relatives(table).leaves)

    def opted_in(self, table: TableState) -> bool:
        return not without_identity([replace(table, identity="n")], self.context.settings.keyless)

    def relatives(self, table: TableState) -> Related:
        return self.related.get((table.schema, table.name), Related())

    @cached_property
    def publication_extras(self) -> PublicationExtras:
        """Of the publication that is there."""
        owned, kind = self.query(OWNER_18 if self.version >= 18 else OWNER)[0]
        filters = self.query(FILTERS) if self.version >= 15 else []
        restrictions = {
            (str(schema), str(table)): Restriction(tuple(_json(columns)), condition or "")
            for schema, table, columns, condition in filters
        }
        return PublicationExtras(owned == "true", kind == "s" if self.version >= 18 else None, restrictions)

    @contextmanager
    def replication(self) -> Iterator[tuple[Connection, SystemIdentity]]:
        """A replication connection of the connector's own, as `cdc run` opens it."""
        connection = Connection(connection_options(self.context), replication=True)
        try:
            yield connection, parse_identify_system(connection.query("IDENTIFY_SYSTEM"))
        finally:
            connection.close()


def _json(text: str | None) -> Any:
    return json.loads(text) if text else []


def _pairs(text: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((schema, name) for schema, name in _json(text))


def _extras(row: tuple[str | None, ...]) -> TableExtras:
    _, _, stored, virtual, toastable, identity, candidate = row
    computed = tuple(Computed(*each) for each in _json(virtual))
    return TableExtras(tuple(_json(stored)), computed, tuple(_json(toastable)), tuple(_json(identity)), candidate or "")
