"""A look at the server every few seconds: is the publication still there, how much log the slot holds, which tables may join.

Asked and answered without waiting: the question goes out in one turn of the loop, the answer is fetched in a later one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cdc.errors import CdcError, SourceOutage
from cdc.model.selection import TableSelection
from cdc_postgres.catalog import TABLES_QUERY, TableState, parse_tables
from cdc_postgres.commands import parse_slot, slot_query
from cdc_postgres.connection import Connection, ConnectionOptions
from cdc_postgres.publication import PublicationState, join_tables, missing_tables, parse_publication, publication_query
from cdc_postgres.settings import PostgresSettings


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
