"""The demo itself: everything started, watched until the end, and counted."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from rich.console import Console

from demo.connector import Connector, Lag
from demo.display import Display, Status, display_for
from demo.interrupt import Interrupt
from demo.reader import Reader
from demo.servers.child import DemoError
from demo.servers.scratch import Scratch
from demo.servers.stage import DATABASE, PARTITIONS, Stage, set_up, topics
from demo.shop import Books, Business, Shop
from demo.summary import Outcome, lines, percentile

_PAUSE: Final = 0.04
_FRAME: Final = 0.125
_LOOK_EVERY: Final = 0.5
_ARRIVAL_SECONDS: Final = 20.0
_QUIET_SECONDS: Final = 0.5
_LAG_SECONDS: Final = 3.0
_RATE_WINDOW: Final = 3.0
_LATE: Final = 500


def show(duration: float, interrupt: Interrupt, started: float) -> int:
    """Runs for `duration` seconds of business, 0 for ever. Returns the exit code."""
    console = Console(highlight=False)
    with Scratch() as scratch:
        try:
            with set_up(scratch) as stage:
                outcome = _act(stage, scratch, duration, interrupt, console, started)
        finally:
            interrupt.ending()
    for line in lines(outcome):
        print(line)
    return 0 if outcome.good else 1


def _act(
    stage: Stage, scratch: Scratch, duration: float, interrupt: Interrupt, console: Console, started: float
) -> Outcome:
    interrupt.check()
    with Connector(scratch.folder("cdc"), stage.settings()) as connector, stage.server.connect(DATABASE) as shop:
        interrupt.check()
        build = "hot modules compiled"
        if connector.build != "compiled":
            build = "interpreted: no C compiler or Python headers were found"
        took = time.monotonic() - started
        title = f"{stage.server_version} → cdc run ({build}) → Kafka mock; up after {took:.1f} s"
        books = Books()
        play = _Play(connector, Business(Shop(shop, books), _PAUSE), books, stage.broker.address)
        return play.perform(display_for(console, title, _foot(duration)), duration, interrupt)


def _foot(duration: float) -> str:
    return f"ends by itself after {duration:.0f} s" if duration else "Ctrl-C ends it with a summary"


class _Play:
    """The threads and what is measured while they run."""

    def __init__(self, connector: Connector, business: Business, books: Books, broker: str) -> None:
        self._connector = connector
        self._business = business
        self._books = books
        self._reader = Reader(broker, topics(), PARTITIONS)
        self._tally = self._reader.tally
        self._samples: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._next_look = 0.0

    def perform(self, display: Display, duration: float, interrupt: Interrupt) -> Outcome:
        self._reader.start()
        try:
            self._business.start()
            try:
                running = self._watch(display, duration, interrupt)
            finally:
                self._business.stop()
            return self._finish(running)
        finally:
            self._reader.stop()

    def _watch(self, display: Display, duration: float, interrupt: Interrupt) -> float:
        began = time.monotonic()
        with display:
            while not interrupt.asked:
                running = time.monotonic() - began
                if duration and running >= duration:
                    break
                self._check(running)
                display.show(self._tally.take(), self._status(running))
                interrupt.sleep(_FRAME)
            self._business.stop()
            running = time.monotonic() - began
            self._await_arrivals()
            display.show(self._tally.take(), self._status(running))
        return running

    def _check(self, running: float) -> None:
        for thread, what in ((self._business, "the shop"), (self._reader, "the consumer")):
            if thread.failure:
                raise DemoError(f"{what} failed: {thread.failure}") from thread.failure
        if running >= self._next_look:
            self._next_look = running + _LOOK_EVERY
            self._connector.look()

    def _status(self, running: float) -> Status:
        tally = self._tally
        self._samples.append((running, tally.total))
        while len(self._samples) > 2 and running - self._samples[1][0] >= _RATE_WINDOW:
            self._samples.popleft()
        since, total = self._samples[0]
        rate = (tally.total - total) / (running - since) if running > since else 0.0
        ops: dict[str, int] = {}
        for (_, op), number in tally.events.copy().items():
            ops[op] = ops.get(op, 0) + number
        late = tally.latencies[-_LATE:]
        latency = percentile(late, 50) if late else None
        return Status(running, tally.total, rate, ops, tally.duplicates, latency, self._connector.lag)

    def _await_arrivals(self) -> None:
        """Until all that was committed is there, but not for ever."""
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while self._books.copy() - self._tally.events.copy() and time.monotonic() < deadline:
            self._check(0.0)
            time.sleep(0.02)

    def _finish(self, running: float) -> Outcome:
        lag = self._last_lag()
        exit_code = self._connector.stop()
        self._await_quiet()
        tally = self._tally
        return Outcome(
            running,
            self._books.copy(),
            tally.events.copy(),
            tally.latencies,
            tally.duplicates,
            tally.tombstones,
            lag,
            exit_code,
        )

    def _last_lag(self) -> Lag:
        """Once the connector has saved and confirmed what it delivered, which it does each second."""
        deadline = time.monotonic() + _LAG_SECONDS
        while True:
            self._connector.look()
            if self._connector.lag.size == 0 or time.monotonic() >= deadline:
                return self._connector.lag
            time.sleep(0.1)

    def _await_quiet(self) -> None:
        """What comes too much would come now."""
        total = -1
        while total != (total := self._tally.total + self._tally.duplicates):
            time.sleep(_QUIET_SECONDS)
