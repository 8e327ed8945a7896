"""What a run tells about itself: log lines on a change of state, and the snapshot that health answers with.

Called a few times a turn at most, never per event.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cdc import __version__
from cdc.build import build_name
from cdc.errors import CdcError
from cdc.model.checkpoint import Checkpoint
from cdc.observe.health import Health, HealthSnapshot
from cdc.observe.logs import get_logger
from cdc.ports import Source

TELL_EVERY = 1.0
LOG_EVERY = 60.0


class Report:
    """Owns the counts of the run. `health.snapshot` is replaced about once a second."""

    def __init__(self, name: str) -> None:
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.health = Health(
            HealthSnapshot("starting", False, ("starting",), name, build_name(), __version__, os.getpid(), started)
        )
        self._log = get_logger(name=name)
        self._events = self._records = self._bytes = self._rewinds = 0
        self._troubles: dict[str, str] = {}
        self._state = "starting"
        self._saved: float | None = None
        self._generation = 0
        self._moved: float | None = None
        self._position = ""
        self._next_tell = 0.0
        self._next_log = time.monotonic() + LOG_EVERY

    def turned(self) -> None:
        self.health.turned = time.monotonic()

    def say(self, what: str, **facts: Any) -> None:
        self._log.info(what, **facts)

    def state(self, state: str, **facts: Any) -> None:
        self._state = state
        if state == "streaming":
            for room in ("source", "delivery"):
                self._troubles.pop(room, None)
        self._log.info(state, **facts)
        self._publish(None)

    def count(self, events: int, records: int, size: int) -> None:
        self._events += events
        self._records += records
        self._bytes += size

    def outage(self, error: CdcError) -> None:
        """Something that heals: not ready meanwhile, one line (the log's rate limit keeps storms down)."""
        self._troubles[_room(error)] = f"{error.fault}: {error}"
        self._log.warning(str(error), fault=error.fault, action=error.action)
        self._publish(None)

    def sink_well(self) -> None:
        self._troubles.pop("sink", None)

    def buried(self, error: CdcError) -> None:
        self._log.warning("record written to the dead letters", fault=error.fault, action=error.action, why=str(error))

    def rewound(self) -> None:
        self._rewinds += 1

    def saved(self, checkpoint: Checkpoint) -> None:
        self._troubles.pop("checkpoint", None)
        self._saved = time.monotonic()
        self._generation = checkpoint.generation
        if checkpoint.mark.position != self._position:
            self._position = checkpoint.mark.position
            self._moved = self._saved

    def tell(self, source: Source) -> None:
        now = time.monotonic()
        if now < self._next_tell:
            return
        self._next_tell = now + TELL_EVERY
        self._publish(source)
        if now >= self._next_log:
            self._next_log = now + LOG_EVERY
            self._log_lag()

    def _log_lag(self) -> None:
        snapshot = self.health.snapshot
        self._log.info(
            "lag",
            limited=False,
            position=snapshot.position,
            lag_bytes=snapshot.lag_bytes,
            lag_seconds=snapshot.lag_seconds,
            retained_bytes=snapshot.retained_bytes,
            events=snapshot.events,
        )

    def _publish(self, source: Source | None) -> None:
        old = self.health.snapshot
        status = source.status() if source else None
        reasons = tuple(self._troubles.values()) or (() if self._state == "streaming" else (self._state,))
        self.health.snapshot = replace(
            old,
            state=self._state,
            ready=not reasons,
            reasons=reasons,
            position=self._position or (status.position if status else old.position),
            lag_bytes=status.lag_bytes if status else old.lag_bytes,
            lag_seconds=status.lag_seconds if status else old.lag_seconds,
            retained_bytes=status.retained_bytes if status else old.retained_bytes,
            duplicates_suppressed=status.suppressed if status else old.duplicates_suppressed,
            events=self._events,
            records=self._records,
            bytes=self._bytes,
            rewinds=self._rewinds,
            checkpoint_generation=self._generation,
            checkpoint_saved=self._saved,
            progressed=self._moved,
        )


def _room(error: CdcError) -> str:
    """Which of the three can heal it: each has one trouble at a time."""
    return {"SinkOutage": "sink", "DeliveryGap": "delivery", "CheckpointUnwritable": "checkpoint"}.get(
        type(error).__name__, "source"
    )
