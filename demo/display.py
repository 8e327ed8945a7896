"""The two ways to watch: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.connector import Lag
from demo.reader import Arrival
from demo.words import OPS, change_text, clock, key_text, line, milliseconds, op_text, seconds, size

_FRAMES_PER_SECOND: Final = 8
_LINES_A_SECOND: Final = 6
_ROWS_FOR_FRAME: Final = 6


@dataclass(frozen=True, slots=True)
class Status:
    """What stands in the corner. `latency` is the median of late."""

    running: float
    total: int
    rate: float
    ops: dict[str, int]
    duplicates: int
    latency: float | None
    lag: Lag


class Display(Protocol):
    """A context manager; `show` is called some times a second."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, arrivals: Sequence[Arrival], status: Status) -> None: ...


def display_for(console: Console, title: str, foot: str) -> Display:
    if console.is_terminal and not console.is_dumb_terminal and "CI" not in os.environ:
        return LiveScreen(console, title, foot)
    return PlainLines(console, title)


class LiveScreen:
    """The newest events at the bottom, the figures above them."""

    def __init__(self, console: Console, title: str, foot: str) -> None:
        self._console = console
        self._title = title
        self._foot = foot
        self._rows: deque[Arrival] = deque(maxlen=200)
        self._live = Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, arrivals: Sequence[Arrival], status: Status) -> None:
        self._rows.extend(arrivals)
        head = Panel(_figures(status), title=self._title, title_align="left", border_style="blue")
        self._live.update(Group(head, self._events(), Text(self._foot, "dim")), refresh=True)

    def _events(self) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        for width in (12, 6, 11):
            table.add_column(width=width, no_wrap=True)
        table.add_column(min_width=8, no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=8, justify="right", no_wrap=True)
        room = max(self._console.height - _ROWS_FOR_FRAME, 1)
        for row in [*self._rows][-room:]:
            late = Text(milliseconds(row.latency), "dim")
            table.add_row(clock(row.at), op_text(row.op), row.table, key_text(row), change_text(row), late)
        return table


class PlainLines:
    """A few events of each second, one a line, and a line of figures."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._next = 0.0
        self._printed = 0
        self._left_out = 0

    def __enter__(self) -> Self:
        self._print(Text(self._title))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to put right."""

    def show(self, arrivals: Sequence[Arrival], status: Status) -> None:
        for arrival in arrivals:
            if self._printed < _LINES_A_SECOND or arrival.columns:
                self._print(line(arrival))
                self._printed += 1
            else:
                self._left_out += 1
        if status.running >= self._next:
            self._next = status.running + 1
            self._tell(status)

    def _tell(self, status: Status) -> None:
        if not status.total:
            return
        more = f"… {self._left_out} more; " if self._left_out else ""
        self._print(
            Text(
                f"{more}{status.total} events, {status.rate:.0f}/s, lag {size(status.lag.size)} and "
                f"{seconds(status.lag.seconds)}"
            )
        )
        self._printed = self._left_out = 0

    def _print(self, text: Text) -> None:
        # Not by the console, which would cut or fold at 80 columns where it knows no width.
        print(text.plain, file=self._console.file, flush=True)


def _figures(status: Status) -> Table:
    table = Table.grid(padding=(0, 3))
    counts = Text()
    for op, (name, style) in OPS.items():
        counts.append(f"{status.ops.get(op, 0)} ", style).append(f"{name}s  ")
    late = "?" if status.latency is None else milliseconds(status.latency)
    table.add_row(
        Text(f"{status.total} events", "bold"), f"{status.rate:.0f} events/s", f"commit → consumer {late}", counts
    )
    lag = status.lag
    table.add_row(
        f"{status.running:.0f} s", f"lag {size(lag.size)}", f"lag {seconds(lag.seconds)}", f"{status.duplicates} twice"
    )
    return table
