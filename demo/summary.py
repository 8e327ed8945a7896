"""The end of the story: what was committed, what arrived, and whether the demo may call itself a success."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from demo.connector import Lag
from demo.shop import TABLES
from demo.words import OPS, milliseconds, seconds, size

Rows = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`running` is how long business went on, in seconds; `exit_code` the connector's."""

    running: float
    committed: Rows
    arrived: Rows
    latencies: Sequence[float]
    duplicates: int
    tombstones: int
    lag: Lag
    exit_code: int

    @property
    def missing(self) -> Rows:
        return self.committed - self.arrived

    @property
    def unexpected(self) -> Rows:
        return self.arrived - self.committed

    @property
    def good(self) -> bool:
        return bool(self.arrived) and not self.missing and not self.unexpected and self.exit_code == 0


def lines(outcome: Outcome) -> Iterator[str]:
    yield ""
    yield from _table(outcome)
    yield ""
    total = outcome.arrived.total()
    rate = total / outcome.running if outcome.running else 0.0
    yield _fact("events", f"{total} in {outcome.running:.1f} s, {rate:.0f}/s; {outcome.tombstones} tombstones")
    if outcome.latencies:
        yield _fact("commit → consumer", f"p50 {_percentile(outcome, 50)}, p99 {_percentile(outcome, 99)}")
    yield _fact("duplicates", str(outcome.duplicates))
    yield _fact("lag at the end", f"{size(outcome.lag.size)}, {seconds(outcome.lag.seconds)}")
    yield _fact("connector", f"drained and ended with exit code {outcome.exit_code}")
    yield _fact("committed changes", _verdict(outcome))


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank; of at least one value."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _percentile(outcome: Outcome, percent: int) -> str:
    return milliseconds(percentile(outcome.latencies, percent))


def _table(outcome: Outcome) -> Iterator[str]:
    names = [f"{name}s" for name, _ in OPS.values()]
    yield f"{'':<12}" + "".join(f"{name:>10}" for name in [*names, "arrived", "committed"])
    for table in TABLES:
        yield _row(table, [outcome.arrived[table, op] for op in OPS], sum(outcome.committed[table, op] for op in OPS))
    sums = [sum(outcome.arrived[table, op] for table in TABLES) for op in OPS]
    yield _row("all", sums, outcome.committed.total())


def _row(name: str, arrived: list[int], committed: int) -> str:
    return f"{name:<12}" + "".join(f"{number:>10}" for number in [*arrived, sum(arrived), committed])


def _fact(name: str, value: str) -> str:
    return f"{name:<20}{value}"


def _verdict(outcome: Outcome) -> str:
    if not outcome.arrived:
        return "none arrived"
    wrong = [
        *(f"{number} × {op} of {table} missing" for (table, op), number in outcome.missing.items()),
        *(f"{number} × {op} of {table} too many" for (table, op), number in outcome.unexpected.items()),
    ]
    return "; ".join(wrong) or "all arrived"
