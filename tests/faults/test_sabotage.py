"""The suite proves its own teeth: with a promise broken on purpose the oracle must report a violation."""

from __future__ import annotations

from tests.faults.conftest import MakeScene

SLOW = {"CDC_CHECKPOINT_INTERVAL": "3600"}  # the checkpoint stays where it is
WRITE_FAILS = "files.written=raise:ENOSPC"  # the sink takes records and never acknowledges one


def test_confirm_before_ack_is_caught(scene: MakeScene) -> None:
    """The server is told to forget what the checkpoint does not hold."""
    with scene(kafka=False, settings=SLOW) as stage:
        stage.begin(sabotage="confirm-before-ack", failpoints=WRITE_FAILS)
        stage.workload.run(40)
        target = stage.workload.end_of_log()
        stage.connector.wait_until(lambda: (stage.confirmed() or 0) >= target, 10)
        stage.sampler.take()
        assert stage.judge().broken() >= {"I1", "I4"}
        stage.connector.kill()
        stage.halts(3, "slot-ahead")


def test_checkpoint_before_ack_is_caught(scene: MakeScene) -> None:
    """The checkpoint says that what no broker has was delivered: after a kill it is lost."""
    with scene(kafka=False) as stage:
        stage.begin(sabotage="checkpoint-before-ack", failpoints=WRITE_FAILS)
        stage.workload.run(40)
        stage.caught_up()
        stage.connector.kill()
        stage.begin()
        stage.workload.run(20)
        verdict = stage.finish()
        assert verdict.lost > 0
        assert "I1" in verdict.broken()


def test_drop_one_row_after_rewind_is_caught(scene: MakeScene) -> None:
    with scene(kafka=False) as stage:
        stage.begin(sabotage="drop-one-row-after-rewind")
        stage.workload.run(40)
        stage.caught_up()
        pid = stage.slot_row("active_pid")
        stage.terminate_walsender()
        stage.connector.wait_until(lambda: stage.slot_row("active_pid") not in (None, pid), 10)
        stage.workload.run(40)
        verdict = stage.finish()
        assert verdict.lost == 1
        assert "I1" in verdict.broken()


def test_without_sabotage_the_same_steps_pass(scene: MakeScene) -> None:
    with scene(kafka=False) as stage:
        stage.begin(failpoints=WRITE_FAILS)
        stage.workload.run(40)
        stage.sampler.take()
        stage.connector.kill()
        stage.begin()
        pid = stage.slot_row("active_pid")
        stage.terminate_walsender()
        stage.connector.wait_until(lambda: stage.slot_row("active_pid") not in (None, pid), 10)
        stage.workload.run(40)
        stage.passes()
