"""The broker hurt: paused, killed, restarted, away for longer than the client's patience; and records that it will not take."""

from __future__ import annotations

from tests.faults.conftest import MakeScene
from tests.faults.scene import Writing
from tests.oracle.checker import check
from tests.oracle.reader import read_dead_letters
from tests.oracle.workload import KEYED, WIDE
from tests.servers.plugin import StartKafka

# librdkafka's patience, shortened, so that "longer than every default" takes seconds here; there is no message time-out to shorten (K2).
HASTY = {
    "CDC_KAFKA_SOCKET_TIMEOUT_MS": "1000",
    "CDC_KAFKA_REQUEST_TIMEOUT_MS": "1000",
    "CDC_KAFKA_RECONNECT_BACKOFF_MAX_MS": "200",
}


def test_K1_K2_broker_paused_and_down_past_every_timeout(scene: MakeScene, private_kafka: StartKafka) -> None:
    """Requests time out and are sent again; nothing expires, nothing changes its place, and feedback goes on meanwhile."""
    broker = private_kafka()
    with scene(kafka=broker, settings=HASTY) as stage:
        stage.begin()
        with Writing(stage.workload, rate=400) as more:
            more(100)
            broker.pause()
            more(1000)  # 2.5 s: past the request's time-out, with requests on their way
            broker.resume()
            more(100)
            broker.kill9()
            stage.connector.wait_unready()
            more(800)
            broker.start()
            stage.connector.wait_ready()
        assert stage.slot_row("active_pid")
        stage.passes()
        assert "rewinding" not in stage.connector.log_text()


def test_K1_broker_restarted_and_killed_under_load(scene: MakeScene, private_kafka: StartKafka) -> None:
    broker = private_kafka()
    with scene(kafka=broker) as stage:
        stage.begin()
        with Writing(stage.workload, rate=600, large=1500) as more:
            more(200)
            broker.kill9()
            broker.start()
            more(200)
            broker.restart()
            more(100)
        stage.passes()


def test_X1_broker_and_connector_killed_together(scene: MakeScene, private_kafka: StartKafka) -> None:
    """What was on its way is gone on both sides."""
    broker = private_kafka()
    with scene(kafka=broker) as stage:
        stage.begin()
        with Writing(stage.workload, rate=600) as more:
            more(200)
            broker.kill9()
            more(100)
            stage.connector.kill()
            stage.connector.start()
            more(100)
            broker.start()
        stage.passes()


def test_K3_a_record_that_is_too_large_halts_and_nothing_follows_it(scene: MakeScene) -> None:
    """Exit 4, again and again, with all before it delivered and nothing after it; a larger limit, and it goes on."""
    with scene(limits={WIDE: 2000}) as stage:
        assert stage.kafka is not None
        stage.begin()
        workload, session = stage.workload, stage.workload.sessions[0]
        for table in (KEYED, KEYED, WIDE, KEYED, KEYED):
            session.begin()
            workload.insert(session, table)
            session.commit()
        assert stage.connector.wait() == 4
        verdict = stage.judge(complete=False)
        assert not verdict.violations, verdict
        assert verdict.events <= 2
        # What was sent before the halt may come again, if the checkpoint had not seen it acknowledged; nothing behind it may come.
        stage.connector.start()
        assert stage.connector.wait(20) == 4
        assert stage.connector.log_text().count(WIDE) >= 2
        again = stage.judge(complete=False)
        assert not again.violations, again
        assert again.events - again.duplicates <= 2
        stage.connector.settings["CDC_DEAD_LETTER"] = f"file://{stage.connector.folder / 'dead'}"
        stage.begin()
        stage.caught_up()
        assert stage.connector.term() == 0
        letters = read_dead_letters(stage.connector.folder / "dead")
        whole = check(workload.history, [*stage.reader.read(), *letters], {})
        assert not whole.violations, whole
        assert len(letters) == 1
