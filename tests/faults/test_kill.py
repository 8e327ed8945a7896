"""The connector killed at every named place and at any other time: nothing lost, and only what followed the checkpoint comes again."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import MakeScene
from tests.faults.connector import ConnectorError, wait_until
from tests.faults.declared import declared_in_source
from tests.faults.scene import Scene, Writing
from tests.oracle.checker import check
from tests.oracle.reader import read_dead_letters
from tests.oracle.workload import WIDE

ROOT = Path(__file__).parents[2]
DECLARED = sorted(declared_in_source(ROOT / "cdc") | declared_in_source(ROOT / "connectors"))
NTH = 3


def killed(stage: Scene, seconds: float) -> bool:
    """Whether it dies by its own SIGKILL in that time."""
    try:
        code = stage.connector.wait(seconds)
    except ConnectorError:
        return False
    assert code in (0, -signal.SIGKILL), stage.connector.log_tail()
    return code != 0


def drive(stage: Scene, changes: int = 60) -> None:
    """Write in portions until so much is written or it has died; before there is a slot nothing may be written."""
    wait_until(lambda: stage.slot_row("confirmed_flush_lsn") or not stage.connector.running, 20, "a slot is there")
    if stage.slot_row("confirmed_flush_lsn") is None:
        return
    for _ in range(6):
        stage.workload.run(changes // 6)


def plain(stage: Scene) -> None:
    drive(stage)


def cut_off(stage: Scene) -> None:
    """The stream is cut while it runs, so that the connector goes back."""
    drive(stage)
    with suppress(ConnectorError, psycopg.OperationalError):
        stage.connector.wait_until(lambda: stage.slot_row("active_pid"))
        stage.terminate_walsender()
    drive(stage)


def told_to_stop(stage: Scene) -> None:
    drive(stage)
    with suppress(ConnectorError):
        stage.connector.wait_ready()
        drive(stage)
        stage.connector.signal(signal.SIGTERM)


def gap_accepted(stage: Scene) -> None:
    drive(stage)


def lose_slot(stage: Scene) -> None:
    """The slot goes away while nothing is written, and the operator accepts the gap that this must be taken for."""
    stage.connector.start()
    drive(stage)
    stage.caught_up()
    stage.connector.kill()
    stage.drop_slot()


# What leads to a place where writing rows is not enough, by how its name begins; the first that fits.
SITUATIONS: tuple[tuple[str, Callable[[Scene], None], dict[str, str]], ...] = (
    ("rewind.", cut_off, {}),
    ("kafka.purged", cut_off, {}),
    ("drain.", told_to_stop, {}),
    ("postgres.gap-", gap_accepted, {"CDC_ON_POSITION_LOST": "accept-gap"}),
    ("files.", plain, {"CDC_FILES_ROTATE_BYTES": "20000"}),
    ("dead-letter.", plain, {}),
)


def situation(name: str) -> tuple[Callable[[Scene], None], dict[str, str]]:
    return next(((drive, settings) for start, drive, settings in SITUATIONS if name.startswith(start)), (plain, {}))


@pytest.mark.parametrize("name", DECLARED)
def test_X1_killed_at(name: str, scene: MakeScene, tmp_path: Path) -> None:
    """SIGKILL at the first hit, then, after a restart, at a later one; then on to the end.

    It fails for a failpoint that is declared where nothing here leads.
    """
    lead, settings = situation(name)
    buried = name.startswith("dead-letter.")
    if buried:
        settings = {"CDC_DEAD_LETTER": f"file://{tmp_path / 'dead'}"}
    limits = {WIDE: 2000} if buried else {}
    with scene(kafka=not name.startswith("files."), settings=settings, limits=limits) as stage:
        if lead is gap_accepted:
            lose_slot(stage)
        for hit in (1, NTH):
            stage.connector.start(failpoints=f"{name}=kill@{hit}")
            lead(stage)
            died = killed(stage, 15.0 if hit == 1 else 1.0)
            assert died or hit > 1, f"{name} was not reached:\n{stage.connector.log_tail()}"
            if stage.connector.running:
                stage.connector.kill()
        assert name in stage.connector.failpoints_reached()
        with stage.sampling():
            stage.connector.start()
            drive(stage)
            verdict = stage.finish()
        if buried:
            letters = read_dead_letters(tmp_path / "dead")
            verdict = check(stage.workload.history, [*stage.reader.read(), *letters], {})
            assert letters
            assert not verdict.broken() & {"I1", "I6", "schema"}, f"{name}: {verdict}"  # apart, they have no order
        else:
            assert not verdict.violations, f"{name}: {verdict}\n{stage.connector.log_tail()}"
        assert verdict.events > 100
        if lead is gap_accepted:
            assert len({gap["id"] for gap in verdict.gaps}) == 1


def test_X1_killed_at_any_time(scene: MakeScene) -> None:
    """Six lives, each ended by SIGKILL at a random moment under load."""
    chance = random.Random(1)
    with scene() as stage:
        stage.begin()
        with stage.sampling(), Writing(stage.workload, rate=800, large=150) as more:
            for _ in range(6):
                more(int(chance.uniform(50, 700)))
                stage.connector.kill()
                stage.connector.start()
            more(100)
        verdict = stage.passes()
        assert verdict.duplicates > 0
