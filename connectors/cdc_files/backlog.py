"""What was taken and is not yet acknowledged: lines in order, bounded in bytes, and the tickets that wait for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from cdc.model.record import Record
from cdc.ports import Ticket
from cdc_files.lines import line


class _Owed:
    """A ticket and how many calls it has to come. Consecutive records of one batch share it."""

    __slots__ = ("count", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.count = 0


class Backlog:
    def __init__(self, limit: int) -> None:
        self.lines: deque[bytes] = deque()
        self._limit = limit
        self._size = 0
        self._owed: deque[_Owed] = deque()
        self._durable = 0

    def add(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        """Take records until the limit is reached. One that is larger than the limit is taken by an empty backlog."""
        before = len(self.lines)
        for index in range(start, len(records)):
            if self._size >= self._limit:
                break
            text = line(records[index])
            self.lines.append(text)
            self._size += len(text)
        taken = len(self.lines) - before
        if taken:
            self._owe(ticket, taken)
        return taken

    def _owe(self, ticket: Ticket, count: int) -> None:
        if not self._owed or self._owed[-1].ticket is not ticket:
            self._owed.append(_Owed(ticket))
        self._owed[-1].count += count

    def delivered(self, count: int) -> None:
        """The oldest `count` lines are durable: forget them. `settle` tells their tickets."""
        for _ in range(count):
            self._size -= len(self.lines.popleft())
        self._durable += count

    def settle(self) -> None:
        """Call the tickets of what is durable. One that raises leaves the rest for next time; none is called twice."""
        while self._durable:
            owed = self._owed[0]
            self._call(owed, min(owed.count, self._durable))
            if not owed.count:
                self._owed.popleft()

    def _call(self, owed: _Owed, count: int) -> None:
        ticket, called = owed.ticket, 0
        try:
            for called in range(1, count + 1):  # noqa: B007 # read below, also when the ticket raises
                ticket(None, None)
        finally:
            owed.count -= called
            self._durable -= called

    def clear(self) -> None:
        self.lines.clear()
        self._owed.clear()
        self._size = self._durable = 0
