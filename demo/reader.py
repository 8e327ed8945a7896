"""Reads the topics as any consumer would, and keeps count: what came, how late, what came twice."""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

_BATCH: Final = 500
_WAIT: Final = 0.1
# Duplicates come soon after their first, at the next start; ids older than these are let go.
_REMEMBERED: Final = 500_000
_SHOWN_AT_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event as it arrived. `latency` is in seconds since its commit; `columns` are those that were altered."""

    at: float
    latency: float
    table: str
    op: str
    key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    columns: str


class Tally:
    """Written by the reader's thread alone; others read, `take` apart."""

    def __init__(self) -> None:
        self.events: Counter[tuple[str, str]] = Counter()
        self.total = 0
        self.duplicates = 0
        self.tombstones = 0
        self.first_at: float | None = None
        self.latencies = array("d")
        self._ids: dict[str, None] = {}
        self._shapes: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._arrived: deque[Arrival] = deque(maxlen=_SHOWN_AT_MOST)

    def take(self) -> list[Arrival]:
        """What arrived since the last call, at most the newest few."""
        taken = []
        while self._arrived:
            taken.append(self._arrived.popleft())
        return taken

    def count(self, key: bytes | None, value: bytes | None, now: float) -> None:
        if value is None:
            self.tombstones += 1
            return
        event = orjson.loads(value)
        if self._seen(event["id"]):
            self.duplicates += 1
            return
        source = event["source"]
        latency = now - source["ts_us"] / 1e6
        self.latencies.append(latency)
        self.total += 1
        self.events[source["table"], event["op"]] += 1
        self.first_at = self.first_at or now
        keys = orjson.loads(key) if key else {}
        columns = self._altered(source, event["after"])
        self._arrived.append(
            Arrival(now, latency, source["table"], event["op"], keys, event["before"], event["after"], columns)
        )

    def _seen(self, id: str) -> bool:
        if id in self._ids:
            return True
        self._ids[id] = None
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]
        return False

    def _altered(self, source: dict[str, Any], after: dict[str, Any] | None) -> str:
        """What is new about the table's shape: `+gift` or `-gift`."""
        if after is None:
            return ""
        version, columns = source["schema_version"], tuple(after)
        known = self._shapes.get(source["table"])
        if known is not None and known[0] >= version:
            return ""
        self._shapes[source["table"]] = (version, columns)
        if known is None:
            return ""
        added = [f"+{name}" for name in columns if name not in known[1]]
        dropped = [f"-{name}" for name in known[1] if name not in columns]
        return " ".join([*added, *dropped])


class Reader(threading.Thread):
    """Consumes every partition from its beginning until it is told to stop; `failure` holds what went wrong."""

    def __init__(self, broker: str, topics: Sequence[str], partitions: int) -> None:
        super().__init__(name="reader")
        self.tally = Tally()
        self.failure: Exception | None = None
        self._stop_asked = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker,
                "group.id": "demo",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for topic in topics for number in range(partitions)]
        )

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._read()
        except Exception as error:  # noqa: BLE001 - told by the main thread
            self.failure = error
        finally:
            self._consumer.close()

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    def _read(self) -> None:
        first = self._consumer.poll(_WAIT)  # consume() would wait until the time is up
        if first is None:
            return
        now = time.time()
        more: list[Message] = self._consumer.consume(_BATCH, 0)
        for message in (first, *more):
            if message.error() is None:
                self.tally.count(message.key(), message.value(), now)
