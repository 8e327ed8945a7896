"""Where a record without a key goes: to the partition that a Java client would choose for its ordering key, or to all."""

from __future__ import annotations

from typing import Any, Final

from cdc.model.record import Record
from cdc.ports import Ticket

_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32 bits of `org.apache.kafka.common.utils.Utils.murmur2`, unsigned. Slow: for names, not for each record."""
    length = len(data)
    value = (_SEED ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        value = (value * _M & _MASK) ^ ((word ^ word >> 24) * _M & _MASK)
    if length > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    return value ^ value >> 15


def partition_of(ordering_key: bytes, count: int) -> int:
    """Java clears the sign bit, then takes the remainder."""
    return (murmur2(ordering_key) & 0x7FFFFFFF) % count


class Copies:
    """One record on every partition, which its ticket sees as one.

    The delivery callback of all copies: calls the ticket once, when all are durable or when the first one fails.
    """

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
