"""The log does not continue from the checkpoint: halt with exit 3, name the range and the choices, send nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.conftest import MakeScene
from tests.faults.scene import Scene
from tests.servers.plugin import StartPostgres

ACCEPT = "CDC_ON_POSITION_LOST=accept-gap"
POLICY = {"CDC_ON_POSITION_LOST": "accept-gap"}


def stopped_after_some(stage: Scene) -> None:
    """Something was delivered and is in the checkpoint; the connector is down."""
    stage.begin()
    stage.workload.run(60)
    stage.caught_up()
    assert stage.connector.term() == 0


def drop_slot(stage: Scene) -> None:
    stage.drop_slot()


def recreate_slot(stage: Scene) -> None:
    stage.drop_slot()
    stage.workload.run(30)
    stage.query("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", stage.slot)


def advance_slot(stage: Scene) -> None:
    stage.workload.run(30)
    stage.query("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", stage.slot)


def recreate_publication(stage: Scene) -> None:
    name = stage.publication
    stage.query(f"DROP PUBLICATION {name}")
    stage.workload.run(30)
    stage.query(f"CREATE PUBLICATION {name} FOR TABLE keyed, wide, pair, loose")


def other_plugin(stage: Scene) -> None:
    stage.drop_slot()
    stage.query("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", stage.slot)


# What happens, the words that tell of it, and whether rows written after it come (the slot or publication is there again).
LOSSES: dict[str, tuple[Callable[[Scene], None], tuple[str, ...], bool | None]] = {
    "P3_slot_dropped": (drop_slot, ("slot-missing", "does not exist any more"), False),
    "P3_slot_dropped_and_made_again": (recreate_slot, ("slot-ahead",), True),
    "P6_slot_advanced_by_hand": (advance_slot, ("slot-ahead", "stands at"), True),
    "P20_publication_dropped_and_made_again": (recreate_publication, ("publication-recreated", "was dropped"), True),
    "slot_of_another_plugin": (other_plugin, ("slot-foreign", "test_decoding"), None),
}


@pytest.mark.parametrize("name", LOSSES)
def test_lost(name: str, scene: MakeScene) -> None:
    """The same answer again: a restart loop heals nothing by itself. Then the operator accepts the gap."""
    lose, words, comes_after = LOSSES[name]
    with scene(kafka=False) as stage:
        stopped_after_some(stage)
        first = len(stage.workload.history.transactions)
        lose(stage)
        last = len(stage.workload.history.transactions)
        stage.workload.run(20)
        for _ in range(2 if name == "P3_slot_dropped" else 1):
            told = stage.halts(3, *words, "missing: from", ACCEPT)
        missing_from = told.partition("missing: from ")[2].split()[0]
        stage.connector.settings.update(POLICY)
        if comes_after is None:  # somebody else's slot is not taken over, whatever the policy
            stage.halts(3, *words)
            return
        if not comes_after:
            last = len(stage.workload.history.transactions)
        stage.begin()
        stage.workload.run(60)
        stage.caught_up()
        assert stage.connector.term() == 0
        verdict = stage.judge_without(first, last)
        assert not verdict.violations, verdict
        assert [gap["gap"]["from"] for gap in verdict.gaps] == [missing_from]


def test_P20_publication_made_again_on_a_server_that_knows_it_too_late(
    scene: MakeScene, postgres_server: StartPostgres
) -> None:
    """Before 18 the server cannot decode rows that are older than the publication: an accepted gap must not end there again."""
    with scene(kafka=False, postgres=postgres_server(17)) as stage:
        stopped_after_some(stage)
        first = len(stage.workload.history.transactions)
        recreate_publication(stage)
        stage.halts(3, "publication-recreated")
        stage.connector.settings.update(POLICY)
        last = len(stage.workload.history.transactions)
        stage.begin()
        stage.workload.run(60)
        stage.caught_up()
        assert stage.connector.term() == 0
        verdict = stage.judge_without(first, last)
        assert not verdict.violations, verdict
        assert len(verdict.gaps) == 1


def test_P1_slot_invalidated(scene: MakeScene, postgres_server: StartPostgres) -> None:
    server = postgres_server(
        18, initdb=["--wal-segsize=1"], max_slot_wal_keep_size="2MB", min_wal_size="2MB", max_wal_size="4MB"
    )
    with scene(kafka=False, postgres=server) as stage:
        stopped_after_some(stage)
        first = len(stage.workload.history.transactions)
        stage.query("CREATE TABLE filler (t text)")
        for _ in range(8):
            stage.query("INSERT INTO filler SELECT repeat(md5(n::text), 60) FROM generate_series(1, 1000) n")
            stage.query("SELECT pg_switch_wal()")
            stage.query("CHECKPOINT")
        assert stage.slot_row("wal_status") == "lost"
        stage.workload.run(20)
        stage.halts(3, "slot-invalidated", "missing: from", ACCEPT)
        last = len(stage.workload.history.transactions)
        stage.connector.settings.update(POLICY)
        stage.begin()
        stage.workload.run(60)
        stage.caught_up()
        assert stage.connector.term() == 0
        verdict = stage.judge_without(first, last)
        assert not verdict.violations, verdict
        assert len(verdict.gaps) == 1


def test_P5_another_server_under_the_same_address(scene: MakeScene, postgres_server: StartPostgres) -> None:
    """Even where it has a database and a slot of the same names; and the first server back again is right."""
    first = postgres_server(18, fresh_system_identifier=True)
    with scene(kafka=False, postgres=first) as stage:
        stopped_after_some(stage)
        first.stop()
        other = postgres_server(18, fresh_system_identifier=True)
        other.create_database(stage.name)
        other.execute("CREATE TABLE keyed (id int PRIMARY KEY, version bigint, name text)", dbname=stage.name)
        other.execute(f"CREATE PUBLICATION {stage.publication} FOR ALL TABLES", dbname=stage.name)
        other.execute(f"SELECT pg_create_logical_replication_slot('{stage.slot}', 'pgoutput')", dbname=stage.name)
        source = stage.connector.settings["CDC_SOURCE"]
        stage.connector.settings["CDC_SOURCE"] = source.replace(str(first.port), str(other.port))
        stage.halts(3, "another-server", "system identifier", ACCEPT)
        stage.connector.settings["CDC_SOURCE"] = source
        first.start()
        stage.begin()
        stage.workload.run(60)
        stage.passes()


def test_the_wrong_database(scene: MakeScene) -> None:
    with scene(kafka=False) as stage, scene(kafka=False) as other:
        stopped_after_some(stage)
        source = stage.connector.settings["CDC_SOURCE"]
        stage.connector.settings["CDC_SOURCE"] = source.replace(f"/{stage.name}", f"/{other.name}")
        stage.halts(3, "another-database", stage.name, other.name)
        stage.connector.settings["CDC_SOURCE"] = source
        stage.begin()
        stage.workload.run(60)
        stage.passes()


def test_a_slot_that_no_checkpoint_knows(scene: MakeScene) -> None:
    with scene(kafka=False) as stage:
        stage.query("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", stage.slot)
        position = stage.slot_row("confirmed_flush_lsn")
        stage.workload.run(20)
        stage.halts(3, "slot-unknown", "no checkpoint knows it", "cdc checkpoint adopt")
        assert stage.slot_row("confirmed_flush_lsn") == position
        assert not stage.connector.checkpoint.exists()


def test_X4_an_old_checkpoint_put_back(scene: MakeScene) -> None:
    """A checkpoint from a backup stands before the slot: what lies between was delivered and cannot come again."""
    with scene(kafka=False) as stage:
        stopped_after_some(stage)
        old = stage.connector.checkpoint.read_bytes()
        stage.begin()
        stage.workload.run(60)
        stage.caught_up()
        assert stage.connector.term() == 0
        new = stage.connector.checkpoint.read_bytes()
        stage.connector.checkpoint.write_bytes(old)
        stage.halts(3, "slot-ahead", "old copy", "missing: from")
        stage.connector.checkpoint.write_bytes(new)
        stage.begin()
        stage.workload.run(60)
        stage.passes()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "first byte": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "position": lambda data: data.replace(b'"position":"0/', b'"position":"1/', 1),
    "zeros": lambda data: bytes(len(data)),
}


def test_X3_a_damaged_checkpoint(scene: MakeScene) -> None:
    """Never a reason to begin afresh."""
    with scene(kafka=False) as stage:
        stopped_after_some(stage)
        whole = stage.connector.checkpoint.read_bytes()
        for name, damage in DAMAGE.items():
            spoiled = damage(whole)
            assert spoiled != whole, name
            stage.connector.checkpoint.write_bytes(spoiled)
            stage.halts(3, "checkpoint-unreadable", "reset --to-previous")
            assert stage.connector.checkpoint.read_bytes() == spoiled
        stage.connector.checkpoint.unlink()
        stage.halts(3, "checkpoint-missing", "somebody removed the checkpoint")
        stage.connector.checkpoint.write_bytes(whole)
        stage.begin()
        stage.workload.run(60)
        stage.passes()


def test_X13_settings_changed_against_an_old_checkpoint(scene: MakeScene) -> None:
    """What of an unfinished transaction is durable holds for the old settings only: it comes again whole under the new ones."""
    with scene(kafka=False) as stage:
        stage.begin()
        stage.workload.run(60)
        stage.connector.kill()
        stage.connector.settings["CDC_TRUNCATE"] = "single"
        stage.workload.run(60)
        stage.begin()
        stage.workload.run(60)
        stage.passes()
        assert "settings-changed" in stage.connector.log_text()
