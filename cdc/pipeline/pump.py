"""The loop: source → encoder → sink → ledger → checkpoint → confirm. One thread, whole batches, nothing else.

The order "durable in the sink, then in the checkpoint, then confirmed to the server" is written in `_advance` and nowhere else;
going back is written in `_rewind` and nowhere else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from cdc.errors import (
    CdcError,
    CheckpointUnwritable,
    DataError,
    DeliveryGap,
    PositionLost,
    RecordRefused,
    SettingsError,
    SinkOutage,
    SourceOutage,
)
from cdc.failpoints import hit, sabotaged
from cdc.model.checkpoint import Checkpoint, Mark, Phase
from cdc.model.record import Record
from cdc.model.source_block import SourceLayout
from cdc.pipeline.ledger import BatchTicket, Ledger
from cdc.pipeline.report import Report
from cdc.pipeline.stop import StopFlag
from cdc.ports import CheckpointStore, Encoder, Sink, Source
from cdc.recovery.dead_letters import DeadLetters, event_id
from cdc.recovery.retry import FIRST_WAIT, LONGEST_WAIT, GivenUp, no_progress, until_it_works

IDLE_WAIT = 0.25  # seconds: how long a signal may wait when nothing happens
BUSY_WAIT = 0.02  # while acknowledgements are expected
OVERDUE = 30.0  # seconds without an acknowledgement, while some are owed, until readiness is lost


@dataclass(frozen=True, slots=True)
class PumpOptions:
    """Times in seconds, sizes in bytes."""

    name: str
    settings_digest: str
    checkpoint_interval: float = 1.0
    retry_limit: float = 0.0
    shutdown_timeout: float = 30.0
    batch_bytes: int = 1 << 18


class Pump:
    """One run, from the first connection to the drain."""

    def __init__(
        self,
        source: Source,
        make_encoder: Callable[[SourceLayout], Encoder],
        sink: Sink,
        store: CheckpointStore,
        options: PumpOptions,
        report: Report,
        stop: StopFlag,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        self._source = source
        self._make_encoder = make_encoder
        self._sink = sink
        self._store = store
        self._options = options
        self._report = report
        self._stop = stop
        self._dead_letters = dead_letters
        self._ledger = Ledger()
        self._pending: list[Record] = []
        self._offered = 0
        self._ticket: BatchTicket | None = None
        self._newest: Mark | None = None
        self._safe: Mark | None = None
        self._next_save = 0.0
        self._last_ack = 0.0
        self._outage_since: float | None = None
        self._rewound = False
        self._vain_since: float | None = None
        self._vain = 0
        self._loaded: Checkpoint | None = None
        self._checkpoint: Checkpoint

    def run(self) -> None:
        """Returns after a drain; raises what ends the process otherwise. Whatever happens, nothing is sent after it returns."""
        self._store.acquire()
        try:
            self._loaded = self._load()
            if self._stop.requested:
                return
            self._sink.open()
            self._start()
            while not self._stop.requested:
                self._turn()
            self._drain()
        except GivenUp:
            self._report.state("stopped")
        except DataError:
            self._save_what_is_safe()
            raise
        finally:
            self._sink.close()
            self._source.close()
            self._store.release()

    # -- start ----------------------------------------------------------------------------------------------------------

    def _load(self) -> Checkpoint | None:
        found = self._store.load()
        if found and found.name != self._options.name:
            raise PositionLost(
                f"the checkpoint belongs to connector {found.name!r}, CDC_NAME is {self._options.name!r}",
                fault="checkpoint-foreign",
                action="Restore CDC_NAME; another connector needs a checkpoint and a slot of its own.",
            )
        if found and found.settings_digest != self._options.settings_digest:
            self._report.say("settings changed since the checkpoint", fault="settings-changed")
            found = replace(
                found, mark=replace(found.mark, unfinished=None), settings_digest=self._options.settings_digest
            )
        return found

    def _start(self) -> None:
        self._report.state("connecting")
        started = self._patiently(lambda: self._source.start(self._loaded, self._save))
        self._loaded = self._checkpoint = self._stamp(started, 0)
        self._encoder = self._make_encoder(self._source.layout)
        self._encoder.resume(self._checkpoint.mark.unfinished)
        self._began()

    def _began(self) -> None:
        self._last_ack = time.monotonic()
        self._newest = self._safe = None
        self._report.state("streaming", position=self._checkpoint.mark.position)

    def _save(self, checkpoint: Checkpoint) -> None:
        """What a source calls while it starts: the one time when nothing is in flight."""
        checkpoint = self._stamp(checkpoint, 1)
        try:
            self._store.save(checkpoint)
        except CheckpointUnwritable as trouble:
            raise SettingsError(f"CDC_CHECKPOINT: {trouble}", fault=trouble.fault, action=trouble.action) from trouble
        self._loaded = checkpoint

    def _stamp(self, checkpoint: Checkpoint, step: int) -> Checkpoint:
        """What the engine knows and a source does not: the settings' digest, and how many generations there were."""
        generation = self._loaded.generation if self._loaded else 0
        return replace(checkpoint, settings_digest=self._options.settings_digest, generation=generation + step)

    def _patiently(self, attempt: Callable[[], Checkpoint]) -> Checkpoint:
        def sleep(seconds: float) -> None:
            self._stop.sleep(seconds, self._meanwhile)
            if self._stop.requested:
                raise GivenUp

        return until_it_works(
            attempt,
            limit=self._options.retry_limit,
            told=self._report.outage,
            sleep=sleep,
            stopped=lambda: self._stop.requested,
        )

    def _meanwhile(self) -> None:
        self._report.turned()
        self._sink.poll(0)

    # -- the turn -------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._report.turned()
        try:
            if self._ticket is None:
                self._read(IDLE_WAIT if self._ledger.idle() else BUSY_WAIT)
            if self._ticket is not None:
                self._offer()
            self._sink.poll(BUSY_WAIT if self._ticket is not None else 0)
            self._look_after_failures()
            self._advance()
            self._source.idle()
        except (SourceOutage, DeliveryGap) as trouble:
            self._report.outage(trouble)
            if not self._stop.requested:
                self._bear(trouble)
                self._rewind()
            elif isinstance(trouble, DeliveryGap):
                self._save_what_is_safe()
                raise GivenUp from trouble
        self._look_after_sink()
        self._report.tell(self._source)

    def _read(self, timeout: float) -> None:
        batch = self._source.read(self._options.batch_bytes, timeout)
        if batch is None:
            return
        hit("pump.read")
        records = self._encoder.encode(batch.events)
        hit("pump.encoded")
        if self._rewound and records and sabotaged("drop-one-row-after-rewind"):
            self._rewound = False
            records = records[1:]
        self._newest = batch.mark
        ticket = self._ledger.open(batch.mark, len(records))
        self._report.count(len(batch.events), len(records), batch.size)
        if records:
            self._pending, self._offered, self._ticket = records, 0, ticket

    def _offer(self) -> None:
        ticket = self._ticket
        assert ticket is not None
        hit("pump.offer")
        try:
            self._offered += self._sink.offer(self._pending, self._offered, ticket)
        except RecordRefused as refusal:
            self._offered += refusal.taken
            self._bury(self._pending[self._offered], refusal)
            ticket.settle_one()
            self._offered += 1
        if self._offered == len(self._pending):
            hit("pump.offered")
            self._pending, self._ticket = [], None

    def _look_after_failures(self) -> None:
        for ticket in self._ledger.failed():
            failures, ticket.failures = ticket.failures, []
            for error, message in failures:
                explained = self._sink.explain(error, message)
                if not isinstance(explained, RecordRefused) or explained.record is None:
                    raise explained
                self._bury(explained.record, explained)
                ticket.settle_one()

    def _bury(self, record: Record, refusal: RecordRefused) -> None:
        """The record goes to the dead letters, whole and durable, or the run ends."""
        if self._dead_letters is None:
            raise refusal
        self._dead_letters.write(record, str(refusal), event_id(record))
        self._report.buried(refusal)

    def _save_what_is_safe(self) -> None:
        """Before a halt on data: what was acknowledged need not come again."""
        with suppress(CdcError):
            self._advance(now=True)

    # -- the one place where a position moves ------------------------------------------------------------------------------

    def _advance(self, *, now: bool = False) -> None:
        """Durable in the sink, then in the checkpoint, then confirmed to the server."""
        if (safe := self._ledger.settle()) is not None:
            hit("pump.settled")
            self._safe = safe
            self._last_ack = time.monotonic()
            if (safe.position, safe.unfinished) != (self._checkpoint.mark.position, self._checkpoint.mark.unfinished):
                self._vain, self._vain_since = 0, None
        if sabotaged("checkpoint-before-ack"):
            self._safe = self._newest
        if sabotaged("confirm-before-ack") and self._newest is not None:
            self._source.confirm(self._newest)
        if self._safe is None or (time.monotonic() < self._next_save and not now):
            return
        self._next_save = time.monotonic() + self._options.checkpoint_interval
        hit("pump.before-checkpoint")
        moved = self._stamp(replace(self._checkpoint, phase=Phase.STREAMING, mark=self._safe), 1)
        try:
            self._store.save(moved)
        except CheckpointUnwritable as trouble:
            self._report.outage(trouble)
            return
        self._loaded = self._checkpoint = moved
        self._safe = None
        self._report.saved(moved)
        hit("pump.before-confirm")
        self._source.confirm(moved.mark)
        hit("pump.after-confirm")

    # -- the one place where we go back --------------------------------------------------------------------------------------

    def _bear(self, trouble: CdcError) -> None:
        """Going back again and again to the same place is no progress: more and more slowly, and not past the limit."""
        now = time.monotonic()
        self._vain_since = self._vain_since or now
        limit = self._options.retry_limit
        if limit and now - self._vain_since > limit:
            raise no_progress(limit, str(trouble)) from trouble
        if self._vain:
            wait = min(FIRST_WAIT * 2**self._vain, LONGEST_WAIT)
            self._stop.sleep(random.uniform(wait / 2, wait), self._meanwhile)  # noqa: S311 -- jitter, not a secret
        self._vain += 1

    def _rewind(self) -> None:
        """Nothing old can land any more; then read again from the last durable checkpoint."""
        self._report.state("rewinding")
        hit("rewind.begin")
        self._pending, self._ticket = [], None
        while not self._sink.purge(0.2):
            self._report.turned()
            if self._stop.requested:
                self._save_what_is_safe()
                raise GivenUp
            with suppress(SourceOutage):
                self._source.idle()
        hit("rewind.purged")
        self._bury_late_refusals()
        with suppress(SourceOutage):
            self._advance(now=True)
        self._ledger.reset()
        self._checkpoint = self._patiently(self._restart_source)
        hit("rewind.source")
        self._encoder.resume(self._checkpoint.mark.unfinished)
        self._rewound = True
        self._report.rewound()
        self._began()

    def _bury_late_refusals(self) -> None:
        with suppress(DeliveryGap):
            self._look_after_failures()

    def _restart_source(self) -> Checkpoint:
        return self._source.rewind(self._checkpoint)

    # -- outages and the end --------------------------------------------------------------------------------------------------

    def _look_after_sink(self) -> None:
        now = time.monotonic()
        outage: CdcError | None = self._sink.outage()
        if outage is None and not self._ledger.idle() and now - self._last_ack > OVERDUE:
            outage = SinkOutage(
                f"nothing was acknowledged for {OVERDUE:g} s",
                fault="sink-silent",
                action="Look at the broker: it accepts connections but does not acknowledge.",
            )
        if self._ledger.idle():
            self._last_ack = now
        if outage is None:
            self._outage_since = None
            self._report.sink_well()
            return
        self._report.outage(outage)
        self._outage_since = self._outage_since or now
        limit = self._options.retry_limit
        if limit and now - self._outage_since > limit:
            raise no_progress(limit, str(outage)) from outage

    def _drain(self) -> None:
        """What was read is delivered, saved and confirmed, or left to the next run when time is up or a second signal comes."""
        self._report.state("draining")
        hit("drain.begin")
        end = time.monotonic() + self._options.shutdown_timeout
        try:
            while not self._stop.urgent and time.monotonic() < end and not self._ledger.idle():
                self._report.turned()
                if self._ticket is not None:
                    self._offer()
                self._sink.flush(0.1)
                self._look_after_failures()
                self._finish(now=False)
        except DeliveryGap as left:
            self._report.outage(left)
        hit("drain.flushed")
        self._finish(now=True)
        hit("drain.confirmed")
        self._report.state("stopped", position=self._checkpoint.mark.position)

    def _finish(self, *, now: bool) -> None:
        """What is durable is saved; a source that has gone in the meantime is not told, and need not be."""
        with suppress(SourceOutage):
            self._advance(now=now)
            self._source.idle()
