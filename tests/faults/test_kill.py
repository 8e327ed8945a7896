"""The connector killed at every named place and at any other time: nothing lost, and only what followed the checkpoint comes again."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import MakeScene
from tests.faults.connector import ConnectorError, wait_until
from tests.faults.declared import declared_in_source
from tests.faults.scene import Scene, Writing, sent_more
from tests.oracle.checker import check
from tests.oracle.reader import read_dead_letters
from tests.oracle.workload import WIDE
from tests.servers import KafkaServer, PostgresServer

ROOT = Path(__file__).parents[2]
DECLARED = sorted(declared_in_source(ROOT / "cdc") | declared_in_source(ROOT / "connectors"))
NTH = 3


def drive(stage: Scene) -> None:
    """Write in portions; before there is a slot nothing may be written."""
    wait_until(lambda: stage.slot_row("confirmed_flush_lsn") or not stage.connector.running, 20, "a slot is there")
    if stage.slot_row("confirmed_flush_lsn") is not None:
        for _ in range(4):
            stage.workload.run(12)


def cut_off(stage: Scene) -> None:
    """The stream is cut while it runs, so that the connector goes back."""
    drive(stage)
    with suppress(ConnectorError, psycopg.OperationalError):
        stage.connector.wait_until(lambda: stage.slot_row("active_pid"))
        stage.terminate_walsender()
    drive(stage)


def told_to_stop(stage: Scene) -> None:
    with suppress(ConnectorError):
        stage.connector.wait_ready()
        drive(stage)
        stage.connector.signal(signal.SIGTERM)


@dataclass(frozen=True)
class Situation:
    """What leads to a place in the code: settings, what to do, and whether only a first start comes by."""

    lead: Callable[[Scene], None] = drive
    fresh: bool = False
    kafka: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


# By how the name begins; the first that fits. Writing rows leads to all others.
SITUATIONS = {
    "rewind.": Situation(cut_off),
    "kafka.purged": Situation(cut_off),
    "drain.": Situation(told_to_stop),
    "postgres.gap-": Situation(fresh=True, kafka=False, settings={"CDC_ON_POSITION_LOST": "accept-gap"}),
    "postgres.intent-": Situation(fresh=True, kafka=False),
    "postgres.before-publication": Situation(fresh=True, kafka=False),
    "postgres.publication-ready": Situation(fresh=True, kafka=False),
    "postgres.slot-created": Situation(fresh=True, kafka=False),
    "postgres.first-checkpoint": Situation(fresh=True, kafka=False),
    "checkpoint.": Situation(kafka=False),
    "files.": Situation(kafka=False, settings={"CDC_FILES_ROTATE_BYTES": "20000"}),
    "dead-letter.": Situation(fresh=True, limits={WIDE: 2000}),
}
USUAL = Situation()


@pytest.fixture(scope="module")
def stages(
    newest: PostgresServer, kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Scene]]:
    """Stages that go on from place to place: one of the file sink, one of the broker. What has failed is not used again."""
    found: dict[str, Scene] = {}
    yield found
    for stage in found.values():
        stage.__exit__(None, None, None)


@pytest.fixture
def make_stage(
    stages: dict[str, Scene], newest: PostgresServer, kafka: KafkaServer, tmp_path: Path
) -> Iterator[Callable[[Situation], Scene]]:
    with ExitStack() as own:

        def make(situation: Situation) -> Scene:
            broker = kafka if situation.kafka else None
            settings, shared = dict(situation.settings), not situation.fresh
            name = f"{situation.kafka} {settings}"
            if situation.limits:
                settings["CDC_DEAD_LETTER"] = f"file://{tmp_path / 'dead'}"
            stage = stages.pop(name, None) if shared else None
            if stage is None:
                stage = Scene(tmp_path / "stage", newest, broker, settings=settings, limits=situation.limits)
            own.callback(unless_kept, stage, stages)
            return stage

        yield make


def unless_kept(stage: Scene, stages: dict[str, Scene]) -> None:
    if stage not in stages.values():
        stage.__exit__(None, None, None)


@pytest.mark.parametrize("name", DECLARED)
def test_X1_killed_at(
    name: str, make_stage: Callable[[Situation], Scene], stages: dict[str, Scene], tmp_path: Path
) -> None:
    """SIGKILL at the first hit, then, after a restart, at a later one; then on to the end.

    It fails for a failpoint that is declared where nothing here leads.
    """
    situation = next((each for start, each in SITUATIONS.items() if name.startswith(start)), USUAL)
    stage = make_stage(situation)
    if name.startswith("postgres.gap-"):
        lose_slot(stage)
    for hit in (1, NTH):
        stage.connector.start(failpoints=f"{name}=kill@{hit}")
        situation.lead(stage)
        wait_until(lambda: not stage.connector.running or stage.confirmed_all(), 20, "killed or done")
        code = stage.connector.wait(0.1) if hit == 1 or not stage.connector.running else None
        assert code == -signal.SIGKILL or hit == NTH, f"{name} was not reached:\n{stage.connector.log_tail()}"
        if stage.connector.running:
            stage.connector.kill()
    assert name in stage.connector.failpoints_reached()
    stage.connector.start()
    drive(stage)
    stage.sampler.take()
    stage.caught_up()
    stage.sampler.take()
    if situation.limits:
        letters = read_dead_letters(tmp_path / "dead")
        verdict = check(stage.workload.history, [*stage.reader.read(), *letters], {})
        assert letters
        assert not verdict.broken() & {"I1", "I6", "schema"}, f"{name}: {verdict}"  # apart, they have no order
    else:
        verdict = stage.judge()
        assert not verdict.violations, f"{name}: {verdict}\n{stage.connector.log_tail()}"
    assert verdict.events > 100
    if name.startswith("postgres.gap-"):
        assert len({gap["id"] for gap in verdict.gaps}) == 1
    stage.connector.kill()
    if not situation.fresh:
        stages[f"{situation.kafka} {dict(situation.settings)}"] = stage


def lose_slot(stage: Scene) -> None:
    """The slot goes away while nothing is written, and the operator accepts the gap that this must be taken for."""
    stage.begin()
    drive(stage)
    stage.caught_up()
    stage.connector.kill()
    stage.drop_slot()


def test_X1_killed_at_any_time(scene: MakeScene) -> None:
    """Six lives, each ended by SIGKILL at a random moment under load, when it has sent something."""
    chance = random.Random(1)
    with scene(settings={"CDC_CHECKPOINT_INTERVAL": "0.5"}) as stage:
        stage.begin()
        with stage.sampling(), Writing(stage.workload, rate=800, large=1500) as more:
            for _ in range(6):
                stage.connector.wait_until(sent_more(stage))
                more(int(chance.uniform(50, 700)))
                stage.connector.kill()
                stage.connector.start()
            more(100)
        verdict = stage.passes()
        assert verdict.duplicates > 0
