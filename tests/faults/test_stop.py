"""Told to end, or not alone: an ordered stop at any time, and never two that send."""

from __future__ import annotations

import random
import shutil
import signal
import time

from tests.faults.conftest import MakeScene
from tests.faults.connector import Connector
from tests.faults.scene import Writing
from tests.servers.plugin import StartKafka, StartPostgres


def test_X8_SIGTERM_at_random_times_under_load(scene: MakeScene) -> None:
    """Exit 0 each time. What was acknowledged is in the checkpoint then: nothing at all comes twice."""
    chance = random.Random(8)
    with scene() as stage:
        stage.begin()
        with stage.sampling(), Writing(stage.workload, rate=800, large=1500) as more:
            for _ in range(5):
                more(int(chance.uniform(20, 500)))
                assert stage.connector.term() == 0
                stage.connector.start()
                stage.connector.wait_until(stage.connector.health, what="listening to signals")
        verdict = stage.passes()
        assert verdict.duplicates == verdict.repeated_messages


def test_X8_a_stalled_sink_does_not_keep_it_and_a_second_signal_hastens(
    scene: MakeScene, private_kafka: StartKafka
) -> None:
    broker = private_kafka()
    with scene(kafka=broker, settings={"CDC_SHUTDOWN_TIMEOUT": "2"}) as stage:
        stage.begin()
        stage.workload.run(40)
        stage.caught_up()
        broker.pause()
        stage.workload.run(40)
        began = time.monotonic()
        assert stage.connector.term() == 0
        assert 1.5 < time.monotonic() - began < 10
        stage.connector.settings["CDC_SHUTDOWN_TIMEOUT"] = "60"
        stage.connector.start()
        stage.connector.wait_until(lambda: (stage.connector.health() or {}).get("records"))
        stage.connector.signal(signal.SIGTERM)
        stage.connector.wait_until(lambda: (stage.connector.health() or {}).get("state") == "draining")
        began = time.monotonic()
        assert stage.connector.term(10) == 0
        assert time.monotonic() - began < 5
        broker.resume()
        stage.begin()
        stage.workload.run(40)
        stage.passes()


def test_X6_a_second_instance_with_the_same_checkpoint(scene: MakeScene) -> None:
    with scene() as stage:
        stage.begin()
        with Writing(stage.workload, rate=400) as more:
            more(50)
            other = Connector(stage.connector.folder / "other", stage.settings)
            with other.start():
                assert other.wait() == 6
            assert "holds the lock" in other.log_text()
            more(50)
            assert stage.connector.running
        verdict = stage.passes()
        assert verdict.duplicates == verdict.repeated_messages


def test_P32_a_slot_that_another_process_reads(scene: MakeScene, postgres_server: StartPostgres) -> None:
    """With a checkpoint of its own the lock is free: the slot tells. Waited for as long as a dead walsender may hold it."""
    server = postgres_server(18, wal_sender_timeout="1s")
    with scene(kafka=False, postgres=server, settings={"CDC_POSTGRES_SENDER_TIMEOUT": "1"}) as stage:
        stage.begin()
        stage.workload.run(40)
        stage.caught_up()
        pid = stage.slot_row("active_pid")
        copied = stage.connector.folder / "copied"
        lines = stage.connector.folder / "other_lines"
        settings = {**stage.settings, "CDC_CHECKPOINT": f"file://{copied}", "CDC_SINK": f"file://{lines}"}
        shutil.copy(stage.connector.checkpoint, copied)
        with Writing(stage.workload, rate=200), Connector(stage.connector.folder / "other", settings) as other:
            other.start()
            other.wait_until(lambda: "slot-active" in other.log_text())
            assert not (other.health() or {"ready": False})["ready"]
            assert other.wait(30) == 6
            assert f"PID {pid}" in other.log_text()
        assert stage.slot_row("active_pid") == pid
        assert not any(path.stat().st_size for path in lines.glob("*"))
        verdict = stage.passes()
        assert verdict.duplicates == verdict.repeated_messages


def test_P32_our_own_dead_walsender_is_waited_for(scene: MakeScene) -> None:
    """A stopped process holds the slot and the lock; killed, its walsender may live on for a moment."""
    with scene() as stage:
        stage.begin()
        with Writing(stage.workload, rate=400) as more:
            for _ in range(3):
                more(40)
                stage.connector.stop()
                more(40)
                stage.connector.kill()
                stage.connector.start()
        stage.passes()
