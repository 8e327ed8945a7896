"""How a run is told to end: the first SIGTERM or SIGINT asks for a drain, the second for the end without one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import cache
from types import FrameType


class StopFlag:
    """Asked by the loop once a turn; set by signals, or by a test."""

    def __init__(self) -> None:
        self.requests = 0

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self.requests += 1

    def request(self) -> None:
        self.requests += 1

    @property
    def requested(self) -> bool:
        return self.requests > 0

    @property
    def urgent(self) -> bool:
        return self.requests > 1

    def sleep(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Sleep in short steps, each followed by `meanwhile`; ends early when a stop is requested."""
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            meanwhile()


@cache
def signalled() -> StopFlag:
    """The process's own flag, set by its signals from the first call on.

    Called before anything heavy is imported: as PID 1 a process without a handler never sees a SIGTERM.
    """
    flag = StopFlag()
    flag.install()
    return flag
