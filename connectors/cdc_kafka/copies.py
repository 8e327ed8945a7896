"""One record on every partition, which its ticket sees as one."""

from __future__ import annotations

from typing import Any

from cdc.model.record import Record
from cdc.ports import Ticket


class Copies:
    """Delivery callback of all copies: calls the ticket once, when all are durable or when the first one fails."""

    __slots__ = ("_ticket", "_told", "_undelivered", "count", "record", "sent")

    def __init__(self, record: Record, ticket: Ticket, count: int) -> None:
        self.record = record
        self.count = count
        self.sent = 0
        self._ticket = ticket
        self._undelivered = count
        self._told = False

    def __call__(self, error: Any, message: Any) -> None:
        self._undelivered -= 1
        if not self._told and (error is not None or not self._undelivered):
            self._told = True
            self._ticket(error, message)
