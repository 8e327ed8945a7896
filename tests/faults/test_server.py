"""PostgreSQL hurt: its sessions ended, itself restarted and killed, its network spoiled, its log held back by others."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from tests.faults.conftest import MakeScene
from tests.faults.connector import wait_until
from tests.faults.scene import Scene, Writing, sent_more
from tests.oracle.reader import appended
from tests.oracle.workload import KEYED, LOOSE
from tests.servers import PostgresServer, Proxy
from tests.servers.plugin import StartKafka, StartPostgres

SHORT = {"CDC_POSTGRES_SENDER_TIMEOUT": "1"}


def write_loose(stage: Scene, count: int, size: int = 1) -> None:
    """One transaction, by COPY: rows of one page of the log have one position. `size`: characters in a row."""
    session = stage.workload.sessions[0]
    stage.workload.copy_loose(session, [(stage.workload.next_version(), "x" * size) for _ in range(count)])
    session.commit()


def test_walsender_terminated_in_mid_transaction(scene: MakeScene) -> None:
    """Again and again while one transaction of many rows is on its way."""
    with scene(settings={"CDC_CHECKPOINT_INTERVAL": "0.01"}) as stage:
        stage.begin()
        with stage.sampling():
            for _ in range(2):
                moved = sent_more(stage)
                write_loose(stage, 10_000, 300)
                stage.connector.wait_until(moved)
                stage.terminate_walsender()
            stage.workload.run(40)
            verdict = stage.passes()
        assert "rewinding" in stage.connector.log_text()
        assert verdict.events > 20_000


def test_P11_killed_within_a_copy(scene: MakeScene) -> None:
    """A COPY of 1,000 rows in many batches, killed after some: what the checkpoint holds of it does not come again (I7)."""
    with scene(kafka=False, settings={"CDC_CHECKPOINT_INTERVAL": "0.001"}) as stage:
        stage.begin()
        inside = 0
        with stage.sampling(0.01):
            for kill in (1, 2, 4, 7):
                stage.caught_up()
                stage.connector.kill()
                write_loose(stage, 1000, 2000)
                stage.connector.start(failpoints=f"pump.after-confirm=kill@{kill}")
                wait_until(lambda: not stage.connector.running, 20, "killed")
                sample = stage.sampler.take()
                inside += sample is not None and sample.unfinished is not None
                stage.begin()
            stage.passes()
        assert inside, "no kill left the checkpoint inside of a transaction"


@pytest.mark.parametrize(
    ("rows", "kills"), [(5, (1, 2, 3, 4, 5)), (1000, (1, 30, 130))], ids=["M27_of_five", "P11_of_a_copy"]
)
def test_killed_after_row(rows: int, kills: tuple[int, ...], scene: MakeScene) -> None:
    """In the life that is killed each line is made durable by itself, so that the kill falls exactly behind that row."""
    with scene(kafka=False, settings={"CDC_CHECKPOINT_INTERVAL": "0.001"}) as stage:
        stage.begin()
        for kill in kills:
            stage.caught_up()
            stage.connector.kill()
            ends = stage.reader.ends()
            write_loose(stage, rows)
            stage.connector.start(failpoints=f"files.synced=kill@{kill}", CDC_FILES_ROTATE_BYTES="1")
            wait_until(lambda: not stage.connector.running, 20, "killed")
            assert appended(ends, stage.reader.ends()) == kill
            stage.begin()
        verdict = stage.passes()
        assert verdict.duplicates >= sum(kills[:1])


def test_server_restarted_and_killed_under_load(scene: MakeScene, postgres_server: StartPostgres) -> None:
    server = postgres_server(18)
    with scene(postgres=server) as stage:
        stage.begin()
        with stage.sampling(), Writing(stage.workload, rate=600, large=1500) as more:
            for mode in ("fast", "kill", "immediate", "kill"):
                more(200)
                if mode == "kill":
                    server.kill9()
                    server.start()
                else:
                    server.restart("fast" if mode == "fast" else "immediate")
            more(100)
        stage.passes()
        assert stage.workload.interrupted >= 3


def went_back_in_a_crash(stage: Scene, server: PostgresServer) -> bool:
    stage.workload.run(200)
    stage.caught_up()
    confirmed = stage.confirmed()
    server.kill9()
    server.start()
    after = stage.confirmed()
    assert confirmed is not None
    assert after is not None
    return after < confirmed


def test_P13_server_killed_after_a_confirm(scene: MakeScene, postgres_server: StartPostgres) -> None:
    """The slot goes back to what the server's last checkpoint saved; what ours holds does not come again."""
    server = postgres_server(18, checkpoint_timeout="1h")
    with scene(postgres=server) as stage:
        stage.begin()
        stage.query("CHECKPOINT")
        with stage.sampling():
            # The server also writes a slot down when the log that it holds may be removed: then it is where it was.
            assert any(went_back_in_a_crash(stage, server) for _ in range(10))
            stage.workload.run(50)
            verdict = stage.passes()
        assert verdict.duplicates == verdict.repeated_messages


def test_P29_a_transaction_longer_than_the_timeout_with_the_sink_stalled(
    scene: MakeScene, private_kafka: StartKafka
) -> None:
    """Feedback goes on while nothing can be sent: the session lives three times as long as the server's patience."""
    broker = private_kafka()
    with scene(kafka=broker, settings={**SHORT, "CDC_MEMORY": "1MiB"}) as stage:
        stage.begin()
        stage.workload.run(20)
        stage.caught_up()
        pid = stage.slot_row("active_pid")
        broker.pause()
        write_loose(stage, 4_000, 2000)
        end = time.monotonic() + 3.5
        stage.connector.wait_until(lambda: time.monotonic() > end, 10)
        assert stage.slot_row("active_pid") == pid
        broker.resume()
        stage.workload.run(20)
        stage.passes()
        assert "rewinding" not in stage.connector.log_text()


def test_P32_stopped_past_the_timeout(scene: MakeScene) -> None:
    """SIGSTOP for longer than the server waits: it drops us, and SIGCONT finds a dead connection."""
    with scene(settings=SHORT) as stage:
        stage.begin()
        with stage.sampling():
            stage.workload.run(40)
            stage.connector.stop()
            stage.workload.run(200)
            wait_until(lambda: stage.slot_row("active_pid") is None, 20, "dropped by the server")
            stage.workload.run(200)
            stage.connector.cont()
            stage.workload.run(40)
            stage.passes()
        assert "rewinding" in stage.connector.log_text()


def test_P31_network_cut_and_refused(scene: MakeScene, newest: PostgresServer) -> None:
    with Proxy(newest.host, newest.port) as proxy, scene(through=proxy) as stage:
        stage.begin()
        with stage.sampling(), Writing(stage.workload, rate=500) as more:
            for _ in range(3):
                more(100)
                proxy.cut()
            proxy.refuse()
            proxy.cut()
            stage.connector.wait_unready()
            more(100)
            proxy.accept()
            stage.connector.wait_ready()
        stage.passes()


def test_P31_bytes_swallowed(scene: MakeScene, newest: PostgresServer) -> None:
    """A half-open connection: no error ever comes, only silence."""
    settings = {"CDC_POSTGRES_SILENCE_LIMIT": "10"}
    with Proxy(newest.host, newest.port) as proxy, scene(kafka=False, through=proxy, settings=settings) as stage:
        stage.begin()
        stage.workload.run(50)
        stage.caught_up()
        proxy.swallow()
        stage.workload.run(50)
        stage.connector.wait_until(lambda: "source-silent" in stage.connector.log_text(), 20)
        proxy.release()
        stage.workload.run(50)
        stage.passes()


def moves_on(stage: Scene, place: Scene) -> Callable[[], bool]:
    """Write to a table that nobody captures; whether the slot lets go of older log."""
    before = stage.slot_row("restart_lsn")
    place.query("CREATE TABLE noise (t text)")

    def moved() -> bool:
        place.query("INSERT INTO noise SELECT md5(n::text) FROM generate_series(1, 200) n")
        place.query("CHECKPOINT")
        query = "SELECT %s::pg_lsn < restart_lsn FROM pg_replication_slots WHERE slot_name = %s"
        return bool(stage.query(query, before, stage.slot)[0][0])

    return moved


def test_P8_P9_quiet_tables_do_not_pin_the_log(scene: MakeScene) -> None:
    """Other tables are busy, then another database: the slot moves on all the same, and a restart begins there."""
    with scene(kafka=False) as stage, scene(kafka=False) as other:
        stage.begin()
        stage.workload.run(20)
        stage.caught_up()
        ends = stage.reader.ends()
        for place in (stage, other):
            stage.connector.wait_until(moves_on(stage, place), 20, "moved on")
        assert stage.reader.ends() == ends
        stage.caught_up()
        assert stage.connector.term() == 0
        stage.begin()
        stage.workload.run(20)
        stage.passes()


def test_P14_a_flood_of_messages_moves_no_position_past_a_row(scene: MakeScene) -> None:
    """Messages outside transactions come between and inside others' transactions; a row that follows one is not lost."""
    with scene(kafka=False) as stage:
        stage.begin()
        session, other = stage.workload.sessions
        with stage.sampling(0.01):
            for _ in range(20):
                stage.workload.insert(session, KEYED)
                session.begin()
                other.begin()
                other.execute(
                    "SELECT count(pg_logical_emit_message(false, 'flood', n::text)) FROM generate_series(1, 200) n"
                )
                stage.workload.insert(other, KEYED)
                session.commit()
                other.commit()
                stage.connector.kill()
                stage.connector.start()
            stage.caught_up()
            verdict = stage.finish()
        assert {violation.text.partition(": ")[0] for violation in verdict.violations} <= {
            "delivered and never committed"
        }


def test_P33_a_slot_waits_for_a_long_transaction(scene: MakeScene) -> None:
    """It says for which, is not ready, and goes on by itself. What was written meanwhile was there before the slot."""
    with scene(kafka=False, settings={"CDC_POSTGRES_SLOT_TIMEOUT": "60"}) as stage:
        with psycopg.connect(stage.dsn) as blocker:
            blocker.execute("CREATE TABLE blocker (i int)")
            pid = blocker.info.backend_pid
            stage.connector.start()
            stage.connector.wait_until(lambda: "slot-waits" in stage.connector.log_text(), 20)
            assert f"pid {pid}" in stage.connector.log_text()
            assert not (stage.connector.health() or {"ready": False})["ready"]
        stage.connector.wait_ready()
        stage.workload.run(60)
        stage.passes()


def test_rows_of_a_keyless_table_stay_in_order(scene: MakeScene) -> None:
    with scene() as stage:
        stage.begin()
        with stage.sampling():
            for _ in range(4):
                write_loose(stage, 300)
                stage.connector.kill()
                stage.connector.start()
            verdict = stage.passes()
        places = {record.place for record in stage.reader.read() if record.topic.endswith(LOOSE)}
        assert len(places) == 1
        assert verdict.events >= 1200
