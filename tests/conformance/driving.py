"""Drives a sink as the pump does: offers, polls, counts tickets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, SecretStr

from cdc.model.record import Record
from cdc.model.selection import TableSelection
from cdc.ports import ConnectorContext, Sink

MEMORY = 32 * 1024 * 1024


class Tally:
    """A ticket that counts."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.failures: list[tuple[Any, Any]] = []

    def __call__(self, error: Any, message: Any) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.failures.append((error, message))

    @property
    def called(self) -> int:
        return self.acknowledged + len(self.failures)


def make_context(
    url: str,
    settings: BaseModel,
    *,
    memory: int = MEMORY,
    tls: str | None = None,
    tls_ca: str = "",
    password: str | None = None,
    name: str = "shop",
) -> ConnectorContext:
    return ConnectorContext(
        name=name,
        url=url,
        password=SecretStr(password) if password else None,
        tls=tls,
        tls_ca=tls_ca,
        selection=TableSelection(()),
        keys={},
        memory=memory,
        on_position_lost="halt",
        invalid_text="halt",
        settings=settings,
    )


def take_all(sink: Sink, records: Sequence[Record], tally: Tally, seconds: float = 30.0) -> None:
    """Offer until every record is taken."""
    taken = 0

    def offer() -> bool:
        nonlocal taken
        taken += sink.offer(records, taken, tally)
        return taken == len(records)

    turn_until(sink, offer, seconds)


def deliver(sink: Sink, records: Sequence[Record], seconds: float = 30.0) -> Tally:
    """Offer everything and poll until each record's ticket was called."""
    tally = Tally()
    take_all(sink, records, tally, seconds)
    turn_until(sink, lambda: tally.called >= len(records), seconds)
    assert not tally.failures, tally.failures[0]
    assert tally.acknowledged == len(records)
    return tally


def turn_until(sink: Sink, true: Callable[[], Any], seconds: float = 30.0) -> None:
    """Poll until the question is answered with something true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s; outage: {sink.outage()!r}"
        sink.poll(0.02)


def purge(sink: Sink, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not sink.purge(0.1):
        assert time.monotonic() < deadline, f"something was still in flight after {seconds} s"


def numbered(topic: str, count: int, keys: int = 7, start: int = 0, padding: int = 0) -> list[Record]:
    """Records of several keys in turn; the value says which one it is."""
    rest = b"x" * padding
    return [
        Record(topic, key := b'{"id":%d}' % (n % keys), b'{"n":%d,"p":"%s"}' % (n, rest), key)
        for n in range(start, start + count)
    ]
