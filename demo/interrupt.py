"""Signals as a flag: what is under way is finished or undone in order, whenever they come."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Somebody asked to stop before the demo was under way."""


class Interrupt:
    """Set by the first signal; a second one no longer waits for anything."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._ending = False

    def install(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def ending(self) -> None:
        """From now on things are put away: a signal changes nothing."""
        self._ending = True

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def check(self) -> None:
        if self.asked:
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        """Wait, or less when a signal comes."""
        self._asked.wait(seconds)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._ending:
            return
        if self.asked:
            raise KeyboardInterrupt
        self._asked.set()
