"""What a source says happened: a closed union, consumed with `match`.

An event carries canonical cells and the facts of the log; how it looks on the wire is the encoder's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdc.model.row import Row
from cdc.model.types import TableVersion

INSERT: Final = "c"
UPDATE: Final = "u"
DELETE: Final = "d"
TRUNCATE: Final = "t"
MESSAGE: Final = "m"


class Transaction:
    """One transaction of the log; shared by reference by all its events, also across batches.

    `id` is the envelope's transaction id. `position` is the text of its commit position, which every event id contains.
    `commit_us` is the commit time in microseconds since 1970 (UTC). `facts` fills the transaction's slots of the source block.
    """

    __slots__ = ("commit_us", "facts", "id", "position")

    def __init__(self, id: str, position: str, commit_us: int, facts: tuple[str | int | None, ...]) -> None:
        self.id = id
        self.position = position
        self.commit_us = commit_us
        self.facts = facts


class Change:
    """A row inserted, updated or deleted.

    `ordinal` counts every row the server sent in the transaction, from 0, before any filter. `offset` is where the log holds
    this change (PostgreSQL: the LSN of its WAL record, which several rows may share).
    """

    __match_args__ = ("op", "table", "before", "after")
    __slots__ = ("after", "before", "offset", "op", "ordinal", "table", "transaction")

    def __init__(
        self,
        op: str,
        table: TableVersion,
        before: Row | None,
        after: Row | None,
        transaction: Transaction,
        ordinal: int,
        offset: int,
    ) -> None:
        self.op = op
        self.table = table
        self.before = before
        self.after = after
        self.transaction = transaction
        self.ordinal = ordinal
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Truncate:
    """A table emptied by TRUNCATE; one event and one ordinal for each table of the statement."""

    table: TableVersion
    transaction: Transaction
    ordinal: int
    offset: int


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """A message written into the log by the application. `transaction` is None for a non-transactional one.

    `position` is the text form of `offset`: the message's own place in the log, which its event id contains.
    """

    prefix: str
    content: bytes
    transaction: Transaction | None
    offset: int
    position: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The operator accepted that a range of the log is lost (`CDC_ON_POSITION_LOST=accept-gap`)."""

    missing_from: str
    missing_to: str
    reason: str


Event = Change | Truncate | LogicalMessage | Gap
