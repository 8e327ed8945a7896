"""`null:`: acknowledges everything, and at the end tells how much it was, with an order-sensitive checksum."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

from cdc.errors import CdcError, DeliveryGap, SinkOutage
from cdc.model.record import Record
from cdc.observe.logs import get_logger
from cdc.ports import ConnectorContext, Ticket

# A checksum for each key would grow with the keys. Keys that share one of these make it stricter, not blinder: it then
# depends on the order between them too, which one log and one sink keep.
_CHAINS: Final = 1 << 16
_ABSENT: Final = b"\x00null"


class NullSink:
    """Implements `cdc.ports.Sink`, in constant memory."""

    def __init__(self, context: ConnectorContext) -> None:
        self._name = context.name
        self._records = 0
        self._bytes = 0
        self._chains = array("L", bytes(array("L").itemsize * _CHAINS))
        self._topics: dict[str, int] = {}
        self._owed: list[tuple[Ticket, int]] = []
        self._began = 0.0

    def open(self) -> None:
        self._began = time.monotonic()

    def offer(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        chains, topics, size = self._chains, self._topics, 0
        for index in range(start, len(records)):
            record = records[index]
            value, topic = record.value, record.topic
            if topic not in topics:
                topics[topic] = crc32(topic.encode())
            chain = crc32(record.ordering_key, topics[topic]) % _CHAINS
            chains[chain] = crc32(_ABSENT if value is None else value, chains[chain])
            size += record.size()
        taken = max(0, len(records) - start)
        self._records += taken
        self._bytes += size
        if taken:
            self._owed.append((ticket, taken))
        return taken

    def poll(self, timeout: float) -> None:
        while self._owed:
            ticket, count = self._owed.pop(0)
            called = 0
            try:
                for called in range(1, count + 1):  # noqa: B007 # read below when the ticket raises
                    ticket(None, None)
            finally:
                if called < count:
                    self._owed.insert(0, (ticket, count - called))

    def explain(self, error: Any, message: Any) -> CdcError:
        return DeliveryGap("nothing fails here")

    def purge(self, timeout: float) -> bool:
        self._owed.clear()
        return True

    def outage(self) -> SinkOutage | None:
        return None

    def flush(self, timeout: float) -> bool:
        self.poll(0.0)
        return True

    def checksum(self) -> str:
        """Equal for equal records of each key in equal order."""
        return f"{crc32(self._chains.tobytes()):08x}"

    def close(self) -> None:
        get_logger(sink="null").info(
            "null sink closed",
            name=self._name,
            records=self._records,
            bytes=self._bytes,
            topics=len(self._topics),
            checksum=self.checksum(),
            seconds=round(time.monotonic() - self._began, 3),
            limited=False,
        )
