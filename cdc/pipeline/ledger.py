# cython: annotation_typing=False
"""What is durable: one ticket a batch, and the last place below which nothing is missing.

A ticket is handed to the sink with its batch's records and called once for each; it does nothing but count, since it is called
as often as there are records. A hot module (see the sibling `.pxd`).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from cdc.model.checkpoint import Mark


class BatchTicket:
    """Implements the `Ticket` port. `outstanding` counts records not yet durable; `failures` holds (error, message) of those that failed."""

    __slots__ = ("failures", "mark", "outstanding")

    def __init__(self, mark: Mark, records: int) -> None:
        self.mark = mark
        self.outstanding = records
        self.failures: list[tuple[Any, Any]] = []

    def __call__(self, error: Any, message: Any) -> None:
        if error is None:
            self.outstanding -= 1
        else:
            self.failures.append((error, message))

    def settle_one(self) -> None:
        """A failed record was dealt with in another way (dead letters), or was never offered."""
        self.outstanding -= 1


class Ledger:
    """Tickets in log order."""

    def __init__(self) -> None:
        self._tickets: deque[BatchTicket] = deque()

    def open(self, mark: Mark, records: int) -> BatchTicket:
        """A ticket for the next batch. `mark` holds once every record up to here is durable.

        A batch without records moves the newest ticket's mark: else hours of keepalives behind one record that a broker owes
        would each cost memory.
        """
        if not records and self._tickets:
            self._tickets[-1].mark = mark
            return self._tickets[-1]
        ticket = BatchTicket(mark, records)
        self._tickets.append(ticket)
        return ticket

    def settle(self) -> Mark | None:
        """The newest mark below which everything is durable, once; None when it has not moved."""
        safe = None
        while self._tickets and not self._tickets[0].outstanding:
            safe = self._tickets.popleft().mark
        return safe

    def failed(self) -> list[BatchTicket]:
        """The tickets with failures, oldest first."""
        return [ticket for ticket in self._tickets if ticket.failures]

    def idle(self) -> bool:
        """Whether nothing is waited for."""
        return not self._tickets

    def reset(self) -> None:
        """Forget everything; what still comes back is for tickets that nobody holds."""
        self._tickets.clear()
