"""`cdc check` about the slot and the checkpoint: what a start would refuse is said before, with what mends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.connector import Connector, wait_until
from tests.integration.postgres.operator_desk import Desk, _quiet_server, quiet_server, version
from tests.servers import PostgresServer
from tests.servers.plugin import StartPostgres

__all__ = ["_quiet_server", "quiet_server", "version"]

ROLE = (
    "CREATE ROLE cdc LOGIN REPLICATION",
    "CREATE TABLE public.orders (id int PRIMARY KEY)",
    "GRANT SELECT ON public.orders TO cdc",
    "CREATE PUBLICATION cdc_shop FOR TABLE public.orders WITH (publish_via_partition_root = true)",
)
SLOT = "SELECT pg_create_logical_replication_slot('cdc_shop', 'pgoutput')"


@pytest.fixture
def desk(quiet_server: PostgresServer, tmp_path: Path) -> Desk:
    """A server on which nothing is wrong."""
    server = quiet_server
    hba = server.data_dir / "pg_hba.conf"
    hba.write_text(f"host replication cdc all reject\n{hba.read_text()}")
    server.create_database("shop")
    made = Desk(server, "shop", tmp_path)
    made.sql(*ROLE, "SELECT pg_reload_conf()")
    assert made.troubles() == []
    return made


@contextmanager
def running(desk: Desk, folder: Path) -> Iterator[Connector]:
    with Connector(folder, desk.variables) as connector:
        connector.start().wait_ready()
        yield connector
        if connector.running:
            assert connector.term() == 0


def _once(desk: Desk, folder: Path) -> None:
    with running(desk, folder):
        desk.sql("INSERT INTO public.orders SELECT coalesce(max(id), 0) + 1 FROM public.orders")
    free = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'cdc_shop' AND active"
    wait_until(lambda: not desk.ask(free), 10.0, "the slot is free")


def test_a_running_connector_is_no_trouble(desk: Desk, tmp_path: Path) -> None:
    with running(desk, tmp_path):
        found = desk.check()
    assert [each for each in found if each.severity != "ok"] == []
    said = [f"{each.subject}: {each.detail}" for each in found]
    assert any("is read by PID" in each and "a connector of this name" in each for each in said), said
    assert any("checkpoint: a connector runs: process" in each for each in said), said
    assert any(re.search(r"checkpoint: the log continues from \w+/\w+", each) for each in said), said


def test_a_slot_that_no_checkpoint_knows_is_adopted(desk: Desk, tmp_path: Path) -> None:
    desk.sql(SLOT, "INSERT INTO public.orders VALUES (7)")
    trouble = desk.trouble("slot", "no checkpoint knows it")
    assert trouble.severity == "error" and trouble.fix.startswith("cdc checkpoint adopt")
    assert desk.mend(trouble) == []
    with running(desk, tmp_path) as connector:  # what the slot had kept comes
        connector.wait_until(lambda: '{"id":7}' in str(desk.events()).replace("'", '"').replace(": ", ":"))


def test_what_adopt_writes_is_what_a_first_start_writes(desk: Desk, tmp_path: Path) -> None:
    _once(desk, tmp_path)
    first = _source(desk)
    assert desk.cdc("checkpoint", "reset", "--yes").code == 0
    assert desk.cdc("checkpoint", "adopt").code == 0
    assert _source(desk) == first
    _once(desk, tmp_path)


def _source(desk: Desk) -> dict[str, Any]:
    import json

    source: dict[str, Any] = json.loads(desk.cdc("checkpoint", "show", "--format", "json").out)["source"]
    return source


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("SELECT pg_create_logical_replication_slot('cdc_shop', 'test_decoding')", "slot cdc_shop is for plugin"),
        ("SELECT pg_create_physical_replication_slot('cdc_shop')", "is for physical replication"),
        ("SELECT 1", "does not exist"),
        (f"{SLOT}; DROP PUBLICATION cdc_shop", "publication cdc_shop does not exist"),
    ],
)
def test_adopt_refuses_what_it_cannot_read(desk: Desk, prepare: str, words: str) -> None:
    desk.sql(*prepare.split("; "))
    said = desk.cdc("checkpoint", "adopt")
    assert said.code == 2 and words in said.err


def test_a_slot_of_another_kind(desk: Desk) -> None:
    desk.sql("SELECT pg_create_logical_replication_slot('cdc_shop', 'test_decoding')")
    desk.mend(desk.trouble("slot", "plugin test_decoding"))
    desk.sql("SELECT pg_create_physical_replication_slot('cdc_shop_2')")
    assert desk.mend(desk.trouble("slot", "physical replication")) == []


def test_a_foreign_reader_is_named(desk: Desk, tmp_path: Path) -> None:
    _once(desk, tmp_path)
    with closing(psycopg.connect(desk.server.dsn("shop", replication="database"), autocommit=True)) as other:
        start = "START_REPLICATION SLOT cdc_shop LOGICAL 0/0 (proto_version '1', publication_names 'cdc_shop')"
        other.pgconn.send_query(start.encode())
        wait_until(lambda: bool(desk.ask("SELECT 1 FROM pg_replication_slots WHERE active")), 10.0, "the other reads")
        trouble = desk.trouble("slot", "which is no connector of this name")
        assert f"PID {other.info.backend_pid} " in trouble.detail
        desk.mend(trouble)


def test_P6_a_slot_ahead_of_the_checkpoint(desk: Desk, tmp_path: Path) -> None:
    _once(desk, tmp_path)
    desk.sql("INSERT INTO public.orders VALUES (100)")
    desk.sql("SELECT pg_replication_slot_advance('cdc_shop', pg_current_wal_lsn())")
    trouble = desk.trouble("checkpoint", "somebody advanced or re-created it")
    assert trouble.severity == "error" and "accept-gap" in trouble.fix


def test_P3_a_slot_that_was_dropped(desk: Desk, tmp_path: Path) -> None:
    _once(desk, tmp_path)
    desk.sql("SELECT pg_drop_replication_slot('cdc_shop')")
    assert desk.trouble("checkpoint", "does not exist any more").severity == "error"
    assert desk.cdc("checkpoint", "reset", "--yes").code == 0
    assert desk.troubles() == []


def test_a_publication_that_was_dropped(desk: Desk, tmp_path: Path) -> None:
    _once(desk, tmp_path)
    desk.sql("DROP PUBLICATION cdc_shop")
    assert desk.trouble("checkpoint", "the publication that it needs does not exist any more").severity == "error"
    desk.mend(desk.trouble("publication", "it has no CREATE on the database"))
    assert desk.trouble("checkpoint", "dropped and made again").severity == "error"


def test_P5_another_server_under_the_same_address(
    desk: Desk, postgres_server: StartPostgres, version: int, tmp_path: Path
) -> None:
    _once(desk, tmp_path)
    other = postgres_server(version, fresh_system_identifier=True)
    other.create_database("shop")
    (tmp_path / "other").mkdir()
    there = Desk(other, "shop", tmp_path / "other", CDC_CHECKPOINT=desk.variables["CDC_CHECKPOINT"])
    there.sql(*ROLE, SLOT)
    assert there.trouble("checkpoint", "this is another cluster").severity == "error"


def test_a_checkpoint_that_cannot_be_read_or_belongs_to_another_slot(desk: Desk, tmp_path: Path) -> None:
    _once(desk, tmp_path)
    desk.variables["CDC_POSTGRES_SLOT"] = "cdc_other"
    assert "belongs to slot cdc_shop" in desk.trouble("checkpoint", "not to cdc_other").detail
    del desk.variables["CDC_POSTGRES_SLOT"]
    path = tmp_path / "shop.checkpoint"
    path.write_bytes(path.read_bytes()[:-3])
    assert any(each.subject == "checkpoint" and each.severity == "error" for each in desk.check())


def test_P33_transactions_that_the_slot_would_wait_for(desk: Desk) -> None:
    with closing(psycopg.connect(desk.server.dsn("shop"), autocommit=True)) as open_one:
        open_one.execute("BEGIN; INSERT INTO public.orders VALUES (1)")
        desk.sql("BEGIN; INSERT INTO public.orders VALUES (2); PREPARE TRANSACTION 'it''s 2'")
        trouble = desk.trouble("transactions", f"of pid {open_one.info.backend_pid} in database shop lasts")
        assert trouble.severity == "warning"
        prepared = desk.trouble("transactions", "prepared transaction it's 2 in database shop")
        desk.mend(prepared)
        assert desk.mend(trouble) == []


def test_P1_a_slot_near_its_end_and_past_it(postgres_server: StartPostgres, version: int, tmp_path: Path) -> None:
    server = postgres_server(version, initdb=["--wal-segsize=1"], max_slot_wal_keep_size="6MB", min_wal_size="2MB")
    server.create_database("shop")
    desk = Desk(server, "shop", tmp_path)
    desk.sql(*ROLE)
    _once(desk, tmp_path)
    _fill(desk, 4)
    trouble = desk.trouble("max_slot_wal_keep_size", "beyond it the slot is lost")
    assert trouble.severity == "warning"
    _fill(desk, 12)
    desk.sql("CHECKPOINT")
    assert "accept-gap" in desk.trouble("slot", "was invalidated").fix
    assert desk.trouble("checkpoint", "invalidated").severity == "error"
    assert desk.cdc("checkpoint", "reset", "--yes").code == 0
    desk.mend(desk.trouble("slot", "was invalidated"))


def _fill(desk: Desk, segments: int) -> None:
    for _ in range(segments):
        desk.sql("SELECT pg_logical_emit_message(false, 'fill', 'x')", "SELECT pg_switch_wal()")


def test_all_senders_in_use(postgres_server: StartPostgres, version: int, tmp_path: Path) -> None:
    server = postgres_server(version, max_wal_senders="1")
    server.create_database("shop")
    desk = Desk(server, "shop", tmp_path)
    desk.sql(*ROLE)
    with psycopg.connect(server.dsn("shop", replication="database"), autocommit=True):
        trouble = desk.trouble("senders", "all 1 WAL senders are in use")
        assert "max_wal_senders" in desk.trouble("replication", "no replication connection").fix
        desk.follow(trouble.fix.partition("; -- ")[0] + ";")
    server.restart()
    with psycopg.connect(server.dsn("shop", replication="database"), autocommit=True):
        assert not [each for each in desk.troubles() if each.subject in ("senders", "replication")]
