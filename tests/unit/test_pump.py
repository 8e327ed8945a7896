"""The loop against a scripted source, sink and store: faults that a real server cannot be made to show on demand.

What real servers can show is in tests/faults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import (
    CdcError,
    CheckpointUnwritable,
    DataError,
    DeliveryGap,
    NoProgress,
    PositionLost,
    RecordRefused,
    SettingsError,
    SinkOutage,
    SourceOutage,
)
from cdc.model.checkpoint import Checkpoint, Mark, Phase, Unfinished
from cdc.model.record import Record
from cdc.model.source_block import SourceLayout
from cdc.pipeline.pump import Pump, PumpOptions
from cdc.pipeline.report import Report
from cdc.pipeline.stop import StopFlag
from cdc.ports import Batch, SourceStatus, Ticket
from cdc.recovery.dead_letters import DeadLetters

START = Checkpoint("t", Phase.STREAMING, {}, Mark("0", None, {}), "digest")
Step = int | CdcError  # a number: one record; an error: raised by read


def mark(n: int) -> Mark:
    return Mark(str(n), None, {})


@dataclass
class Script:
    """Source, sink, encoder and store in one, with a journal of everything that happened, in order."""

    stop: StopFlag
    steps: list[Step]
    journal: list[str] = field(default_factory=list)
    stored: Checkpoint | None = START
    save_errors: list[CdcError] = field(default_factory=list)
    fail: dict[int, Any] = field(default_factory=dict)
    refuse: dict[int, CdcError] = field(default_factory=dict)
    starts: list[CdcError] = field(default_factory=list)
    outages: list[SinkOutage | None] = field(default_factory=list)
    learned: dict[str, Any] = field(default_factory=dict)
    hold: bool = False
    at: int = 0
    owed: list[tuple[Ticket, int]] = field(default_factory=list)
    layout: SourceLayout = field(default_factory=lambda: SourceLayout("t", ()))

    # source
    def start(self, checkpoint: Checkpoint | None, save: Callable[[Checkpoint], None]) -> Checkpoint:
        if self.starts:
            raise self.starts.pop(0)
        if checkpoint is None:
            save(replace(START, phase=Phase.INTENT))
        return checkpoint or START

    def rewind(self, checkpoint: Checkpoint) -> Checkpoint:
        self.journal.append(f"rewind {checkpoint.mark.position}")
        self.at = next(
            (i for i, step in enumerate(self.steps) if isinstance(step, int) and step > int(checkpoint.mark.position)),
            len(self.steps),
        )
        return replace(checkpoint, source={**checkpoint.source, **self.learned})

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        if self.at >= len(self.steps):
            if not self.owed or self.hold:
                self.stop.request()
            return None
        step = self.steps[self.at]
        self.at += 1
        if isinstance(step, CdcError):
            self.steps.remove(step)
            self.at -= 1
            raise step
        return Batch([step], mark(step), 1)  # type: ignore[list-item] # our own encoder reads it

    def idle(self) -> None: ...

    def confirm(self, mark: Mark) -> None:
        self.journal.append(f"confirm {mark.position}")

    def status(self) -> SourceStatus:
        return SourceStatus("0", 0, 0.0, None, 0)

    # encoder
    def resume(self, unfinished: Unfinished | None) -> None: ...

    def encode(self, events: Sequence[Any]) -> list[Record]:
        return [Record("topic", b"k", b"%d" % n, b"k") for n in events]

    # sink
    def open(self) -> None: ...

    def offer(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        number = int(records[start].value or b"0")
        if number in self.refuse:
            raise self.refuse.pop(number)
        self.journal.append(f"send {number}")
        self.owed.append((ticket, number))
        return 1

    def poll(self, timeout: float) -> None:
        if not self.hold:
            owed, self.owed = self.owed, []
            for ticket, number in owed:
                ticket(self.fail.pop(number, None), number)

    def explain(self, error: Any, message: Any) -> CdcError:
        assert isinstance(error, CdcError)
        return error

    def purge(self, timeout: float) -> bool:
        self.journal.append("purge")
        self.owed.clear()
        return True

    def outage(self) -> SinkOutage | None:
        return self.outages.pop(0) if self.outages else None

    def flush(self, timeout: float) -> bool:
        self.hold = False
        self.poll(0)
        return True

    def close(self) -> None:
        self.journal.append("close")

    # store
    def acquire(self) -> None: ...

    def release(self) -> None: ...

    def load(self) -> Checkpoint | None:
        return self.stored

    def save(self, checkpoint: Checkpoint) -> None:
        if self.save_errors:
            raise self.save_errors.pop(0)
        self.journal.append(f"save {checkpoint.mark.position}")
        self.stored = checkpoint


def run(script: Script, dead: Path | None = None, **options: Any) -> None:
    letters = DeadLetters(dead) if dead else None
    if letters:
        letters.open()
    chosen = PumpOptions("t", "digest", **{"checkpoint_interval": 0.0, "shutdown_timeout": 2.0, **options})
    Pump(script, lambda layout: script, script, script, chosen, Report("t"), script.stop, letters).run()


def scripted(*steps: Step, **faults: Any) -> Script:
    return Script(StopFlag(), list(steps), **faults)


def test_I4_saved_after_it_is_sent_and_confirmed_after_it_is_saved() -> None:
    script = scripted(1, 2)
    run(script)
    assert script.journal[:6] == ["send 1", "save 1", "confirm 1", "send 2", "save 2", "confirm 2"]
    assert script.stored is not None and script.stored.generation == 2


def test_what_is_owed_at_a_stop_is_flushed_saved_and_confirmed() -> None:
    script = scripted(1, 2, hold=True)
    run(script)
    assert [line for line in script.journal if not line.startswith("close")] == [
        "send 1",
        "send 2",
        "save 2",
        "confirm 2",
    ]


def test_K02_a_failed_delivery_purges_rewinds_and_sends_the_rest_again() -> None:
    script = scripted(1, 2, 3, fail={2: DeliveryGap("expired")})
    run(script)
    assert script.journal[3:9] == ["send 2", "purge", "rewind 1", "send 2", "save 2", "confirm 2"]
    assert script.stored is not None and script.stored.mark.position == "3"


def test_a_lost_source_rewinds_to_what_is_durable() -> None:
    script = scripted(1, SourceOutage("gone"), 2)
    run(script)
    assert script.journal == [
        "send 1",
        "save 1",
        "confirm 1",
        "purge",
        "rewind 1",
        "send 2",
        "save 2",
        "confirm 2",
        "close",
        "close",
    ]


def test_P04_what_a_rewind_learned_of_the_source_is_saved_with_the_next_position() -> None:
    script = scripted(1, SourceOutage("promoted"), 2, learned={"timeline": 2})
    run(script)
    assert script.stored is not None
    assert (script.stored.mark.position, script.stored.source) == ("2", {"timeline": 2})


def test_X02_an_unwritable_checkpoint_confirms_nothing_and_is_tried_again() -> None:
    script = scripted(1, 2, save_errors=[CheckpointUnwritable("disk full")])
    run(script)
    assert script.journal == ["send 1", "send 2", "save 2", "confirm 2", "close", "close"]


def test_a_first_checkpoint_that_cannot_be_written_is_a_wrong_setting() -> None:
    script = scripted(1, stored=None, save_errors=[CheckpointUnwritable("read-only")])
    with pytest.raises(SettingsError, match="CDC_CHECKPOINT"):
        run(script)


def test_I9_after_a_halt_nothing_is_sent() -> None:
    script = scripted(1, DataError("poison"), 2)
    with pytest.raises(DataError):
        run(script)
    assert script.journal == ["send 1", "save 1", "confirm 1", "close", "close"]


def test_K03_a_refused_record_halts_without_dead_letters() -> None:
    script = scripted(1, 2, refuse={2: RecordRefused("too large", record=Record("topic", b"k", b"2", b"k"))})
    with pytest.raises(RecordRefused):
        run(script)
    assert "send 2" not in script.journal
    assert script.stored is not None and script.stored.mark.position == "1"


def test_K03_or_goes_to_them_before_it_counts_as_delivered(tmp_path: Path) -> None:
    late = RecordRefused("too large for the broker", record=Record("topic", b"k", b'{"id":"x"}', b"k"))
    script = scripted(
        1, 2, 3, refuse={2: RecordRefused("too large", record=Record("topic", b"k", b"2", b"k"))}, fail={3: late}
    )
    run(script, dead=tmp_path / "dead")
    assert script.stored is not None and script.stored.mark.position == "3"
    assert len(list((tmp_path / "dead").iterdir())) == 2


def test_a_start_that_heals_is_tried_again() -> None:
    script = scripted(1, starts=[SourceOutage("starting"), SourceOutage("starting")])
    run(script)
    assert "send 1" in script.journal


def test_a_lost_position_is_not() -> None:
    with pytest.raises(PositionLost):
        run(scripted(1, starts=[PositionLost("gone")]))


def test_no_progress_within_the_limit_ends_the_run() -> None:
    script = scripted(1, starts=[SourceOutage("never")] * 10_000)
    with pytest.raises(NoProgress, match="never") as caught:
        run(script, retry_limit=0.3)
    assert caught.value.exit_code == 5


def test_a_sink_that_stays_away_past_the_limit_ends_the_run() -> None:
    script = scripted(*range(1, 100_000), outages=[SinkOutage("broker down")] * 100_000)
    with pytest.raises(NoProgress, match="broker down"):
        run(script, retry_limit=0.05)


def test_X13_other_settings_make_an_unfinished_transaction_void() -> None:
    stored = replace(START, mark=Mark("0", Unfinished("0/1", 5, 0), {}), settings_digest="other")
    script = scripted(stored=stored)
    seen: list[Unfinished | None] = []
    script.resume = seen.append  # type: ignore[method-assign, assignment]
    run(script)
    assert seen == [None]


def test_a_second_signal_leaves_the_rest_to_the_next_start() -> None:
    script = scripted(1, hold=True)
    script.stop.requests = 0
    script.flush = lambda timeout: script.stop.request() or False  # type: ignore[method-assign, func-returns-value]
    run(script)
    assert script.stored is START


def test_a_stop_that_came_before_the_start_begins_nothing() -> None:
    script = scripted(1, stored=None)
    script.stop.request()
    run(script)
    assert script.stored is None
    assert "send 1" not in script.journal


def test_X03_a_checkpoint_of_another_connector_is_foreign() -> None:
    with pytest.raises(PositionLost, match="belongs to connector 'other'"):
        run(scripted(1, stored=replace(START, name="other")))


@pytest.mark.parametrize("outage", [SourceOutage("x"), SinkOutage("x"), DeliveryGap("x")])
def test_an_outage_that_ends_a_command_is_no_bug(outage: CdcError) -> None:
    assert outage.exit_code == 5


def test_going_back_to_the_same_place_for_ever_is_no_progress() -> None:
    script = scripted(1)
    script.explain = lambda error, message: DeliveryGap("refused again")  # type: ignore[method-assign]
    script.poll = lambda timeout: [ticket("no", None) for ticket, _ in script.owed] and script.owed.clear()  # type: ignore[method-assign, assignment, func-returns-value]
    with pytest.raises(NoProgress, match="refused again"):
        run(script, retry_limit=0.5)
    assert script.journal.count("rewind 0") < 10


def test_what_is_durable_is_saved_in_a_drain_although_the_source_has_gone() -> None:
    script = scripted(1, 2, hold=True)

    def gone() -> None:
        if script.stop.requested:
            raise SourceOutage("gone")

    script.idle = gone  # type: ignore[method-assign]
    run(script)
    assert script.stored is not None
    assert script.stored.mark.position == "2"


def test_a_stop_in_the_middle_of_a_purge_saves_what_is_durable_and_ends() -> None:
    script = scripted(1, 2, SourceOutage("gone"))
    script.purge = lambda timeout: script.stop.request() or False  # type: ignore[method-assign, func-returns-value]
    run(script)
    assert script.stored is not None
    assert script.stored.mark.position == "2"


def test_a_stop_while_waiting_makes_no_further_attempt() -> None:
    script = scripted(1, starts=[SourceOutage("away")] * 3)
    began = script.start

    def start(checkpoint: Checkpoint | None, save: Callable[[Checkpoint], None]) -> Checkpoint:
        script.journal.append("start")
        script.stop.request()
        return began(checkpoint, save)

    script.start = start  # type: ignore[method-assign]
    run(script)
    assert script.journal.count("start") == 1
