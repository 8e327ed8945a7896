"""Values only: what was committed, what was read, and where the connector stood meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change as the writer made it. `op`: c u d, `k` a changed key, t truncate, m message.

    `key` is the key's JSON text, None for a keyless table. `version` is unique to each change that leaves a row (or message).
    `row` holds the new row as the server returned it, in the envelope's JSON values.
    """

    table: str
    op: str
    key: str | None
    version: int | None
    row: Row | None = None
    old_key: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """One event that must be delivered."""

    table: str
    op: str
    key: str | None
    version: int | None

    def __str__(self) -> str:
        return f"{self.op} {self.table} {self.key or ''} version {self.version}"


@dataclass(slots=True)
class History:
    """Committed transactions in commit order. `unsure` are events that may have come out and need not (messages outside transactions)."""

    transactions: list[list[Change]] = field(default_factory=list)
    unsure: set[Expected] = field(default_factory=set)
    _count: int = 0

    def add(self, transaction: list[Change]) -> None:
        self.transactions.append(transaction)
        self._count += len(transaction)

    def expected(self) -> Iterator[Expected]:
        for transaction in self.transactions:
            for change in transaction:
                yield from events_of(change)

    def rows(self) -> dict[int, Row]:
        """The new row of each version."""
        return {
            change.version: change.row
            for transaction in self.transactions
            for change in transaction
            if change.version is not None and change.row is not None
        }

    def count(self) -> int:
        """How many changes were added."""
        return self._count


def events_of(change: Change) -> Iterator[Expected]:
    if change.op == "k":
        yield Expected(change.table, "d", change.old_key, None)
        yield Expected(change.table, "c", change.key, change.version)
    else:
        yield Expected(change.table, change.op, change.key, change.version if change.op in "cum" else None)


@dataclass(frozen=True, slots=True)
class Delivered:
    """One record as a consumer sees it. `place` is what keeps an order: a partition, or a file sink's topic; `offset` grows in it."""

    place: str
    offset: int
    topic: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the connector stood at one moment, read in this order: the slot, then the checkpoint, then the ends of all places.

    `incarnation` is the server's start time: after a crash a slot's position may be an older one (P13). `unfinished` is the commit
    position and ordinal up to which the transaction under way is said to be durable. `checkpoint` is None where there is none yet.
    """

    incarnation: str
    confirmed: int | None
    checkpoint: int | None
    unfinished: tuple[int, int] | None
    ends: Mapping[str, int]


def lsn(text: str) -> int:
    """`X/Y` as a number."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)
