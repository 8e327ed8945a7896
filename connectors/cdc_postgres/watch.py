"""A look at the server every few seconds: is the publication still there, how much log the slot holds, which tables may join.

Asked and answered without waiting: the question goes out in one turn of the loop, the answer is fetched in a later one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from cdc.errors import CdcError, SettingsError, SourceOutage
from cdc.model.selection import TableSelection
from cdc.observe.logs import get_logger
from cdc_postgres.catalog import TABLES_QUERY, TableState, newly_attached, parse_tables, tables_alone
from cdc_postgres.commands import parse_slot, slot_query
from cdc_postgres.connection import Connection, ConnectionOptions
from cdc_postgres.publication import (
    PublicationState,
    join_tables,
    missing_tables,
    parse_publication,
    publication_query,
    touch_publication,
)
from cdc_postgres.settings import PostgresSettings
from cdc_postgres.sql import Rows


class Watch:
    """Owns a plain connection of its own. `retained` is what the slot holds back, in bytes."""

    def __init__(
        self,
        options: ConnectionOptions,
        selection: TableSelection,
        publication: str,
        slot: str,
        settings: PostgresSettings,
        warn: Callable[[TableState, str], None],
    ) -> None:
        self._options = options
        self._selection = selection
        self._publication = publication
        self._slot = slot
        self._settings = settings
        self._warn = warn
        self._connection: Connection | None = None
        self._next = 0.0  # at once: a table that was made while nobody looked loses its rows until it joins
        self._asked = 0
        self._found: PublicationState | None = None
        self._alone: frozenset[tuple[str, str]] = frozenset()
        self._log = get_logger(publication=publication)
        self.retained: int | None = None

    def look(self) -> None:
        """Raises SourceOutage when the publication has gone; whatever else goes wrong with the look is tried again later."""
        if not self._asked and time.monotonic() < self._next:
            return
        try:
            self._step()
        except SourceOutage as outage:
            if outage.fault == "publication-missing":
                raise
            self._give_up()
        except CdcError:
            self._give_up()

    def _step(self) -> None:
        if self._connection is None:
            self._connection = Connection(self._options, replication=False)
        connection = self._connection
        if not self._asked:
            self._ask(connection, 1)
        rows = connection.answer(0)
        if rows is None:
            return
        if self._asked == 1:
            slot = parse_slot(rows)
            self.retained = slot.retained if slot else None
            self._ask(connection, 2)
        elif self._asked == 2:
            self._found = parse_publication(rows)
            if self._found is None:
                self._asked = 0
                raise SourceOutage(
                    f"publication {self._publication} has been dropped",
                    fault="publication-missing",
                    action="Make it again: `cdc setup`.",
                )
            self._ask(connection, 3)
        else:
            missing = missing_tables(self._found, parse_tables(rows, self._selection)) if self._found else []
            self._asked = 0
            self._next = time.monotonic() + self._settings.watch_interval
            join_tables(connection, self._publication, missing, self._settings, self._warn)
            if connection.server_version < 150000:
                self._look_for_attached(connection, rows)

    def _look_for_attached(self, connection: Connection, rows: Rows) -> None:
        """P26: before 15 a walsender that has met a table goes on as it did when ATTACH made a partition of it.

        It publishes it by its own name, or not at all, until the publication is altered or the stream begins anew.
        """
        attached = newly_attached(rows, self._alone, self._selection)
        self._alone = tables_alone(rows)
        if not attached:
            return
        statement = touch_publication(self._publication)
        if "publication" in self._settings.create:
            with suppress(SettingsError):
                connection.query(statement)
        for table in attached:
            self._log.warning(
                "a table was attached as a partition: what was written to it since may be missing under its root",
                fault="partition-attached",
                table=table,
                action=f"Send its rows anew (UPDATE them). Before PostgreSQL 15, attach with this in the same transaction: {statement};",
            )

    def _ask(self, connection: Connection, number: int) -> None:
        literal = connection.literal
        connection.send(
            {
                1: slot_query(literal(self._slot), connection.server_version),
                2: publication_query(literal(self._publication)),
                3: TABLES_QUERY,
            }[number]
        )
        self._asked = number

    def _give_up(self) -> None:
        self.close()
        self._asked = 0
        self._next = time.monotonic() + self._settings.watch_interval

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
