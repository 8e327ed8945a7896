"""`cdc setup` and `cdc teardown`: an administrator makes a role with the least rights, and the whole thing runs under it (S2)."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.faults.connector import Connector, wait_until
from tests.integration.postgres.operator_desk import Desk, _quiet_server, quiet_server, url, version
from tests.servers import PostgresServer

__all__ = ["_quiet_server", "quiet_server", "version"]

PASSWORD = "canary-Zx9'\\\"%"
DONE = "-- Role, rights and publication are as they should be."
PLAIN = ("shop", "cdc_shop", "public", "orders", "cdc_shop")
HOSTILE = (
    'Da"ta; b.😀',
    "Ro\"le 'x' 😀.A",
    'we"ird Sch.ema',
    'Tä "b".le; -- 😀',
    "Pu\"b 'lication' .😀",
)
TEXT = "-- the application's own, with a long text"


class Place:
    """A database with one table, whose every name may be hostile, on a server that asks the connector for its password."""

    def __init__(self, server: PostgresServer, folder: Path, names: tuple[str, str, str, str, str]) -> None:
        self.database, self.role, self.schema, self.table, self.publication = names
        server.create_database(self.database)
        hba = server.data_dir / "pg_hba.conf"
        asked = f"host all {_quoted(self.role)} all scram-sha-256"
        hba.write_text(f"host replication {_quoted(self.role)} all reject\n{asked}\n{hba.read_text()}")
        server.execute("SELECT pg_reload_conf()")
        self.name = f"{_quoted(self.schema)}.{_quoted(self.table)}"
        self.desk = Desk(
            server,
            self.database,
            folder,
            self.role,
            CDC_SOURCE=url(server, self.database, self.role),
            CDC_SOURCE_PASSWORD=PASSWORD,
            CDC_TABLES=self.name,
            CDC_POSTGRES_PUBLICATION=self.publication,
        )
        self.desk.sql(
            f"CREATE SCHEMA IF NOT EXISTS {_quoted(self.schema)}",
            f"CREATE TABLE {self.name} (id int PRIMARY KEY, {_quoted(TEXT)} text)",
        )

    def statements(self) -> list[str]:
        said = self.desk.cdc("setup", "--admin", self.desk.admin)
        assert said.code == 0, said.err
        assert PASSWORD not in said.out + said.err
        return said.out.splitlines()

    def publishes(self, folder: Path) -> None:
        """A whole life under the role: a row reaches the sink, and teardown is refused meanwhile."""
        with Connector(folder, self.desk.variables) as connector:
            connector.start().wait_ready()
            self.desk.sql(f"INSERT INTO {self.name} VALUES (1, 'x')")
            connector.wait_until(lambda: bool(self.desk.events()), what="the event")
            refused = self.desk.cdc("teardown", "--yes", "--admin", self.desk.admin)
            assert refused.code == 6 and "holds the lock" in refused.err
            assert connector.term() == 0
            assert PASSWORD not in connector.log_text()
        source = self.desk.events()[0]["value"]
        assert json.dumps(self.table) in json.dumps(source)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(params=[PLAIN, HOSTILE], ids=["plain", "hostile"])
def place(request: pytest.FixtureRequest, quiet_server: PostgresServer, tmp_path: Path) -> Place:
    return Place(quiet_server, tmp_path, request.param)


def test_S2_setup_run_and_teardown_under_the_least_rights(place: Place, tmp_path: Path) -> None:
    desk = place.desk
    assert [each.subject for each in desk.troubles()] == ["server"]  # the role is not there yet
    applied = desk.cdc("setup", "--apply", "--admin", desk.admin)
    assert applied.code == 0, applied.err
    assert PASSWORD not in applied.out + applied.err and "SCRAM" not in applied.out
    again = desk.cdc("setup", "--apply", "--admin", desk.admin)
    assert (again.code, again.out.splitlines()[0]) == (0, DONE)
    assert [(each.severity, each.detail[:12]) for each in desk.troubles()] == [("warning", "large values")]
    place.publishes(tmp_path)
    own = desk.cdc("teardown", "--yes")  # its own slot it may drop, an administrator's publication not
    assert own.code == 1 and "must be owner of publication" in own.err
    ended = desk.cdc("teardown", "--yes", "--admin", desk.admin)
    assert ended.code == 0, ended.err
    assert f"role {place.role}" in ended.out and "shop.checkpoint" in ended.out and "cdc checkpoint reset" in ended.out
    _assert_nothing_left(desk)
    nothing = desk.cdc("teardown", "--admin", desk.admin)
    assert nothing.code == 0 and "There is nothing of this connector on the server." in nothing.out


def _assert_nothing_left(desk: Desk) -> None:
    """X16: neither slot nor publication."""
    assert desk.ask("SELECT slot_name FROM pg_replication_slots") == []
    assert desk.ask("SELECT pubname FROM pg_publication") == []


def test_what_setup_prints_does_the_same_by_hand(place: Place) -> None:
    desk = place.desk
    printed = place.statements()
    assert any(line.startswith("CREATE ROLE") and "PASSWORD '...'" in line for line in printed), printed
    as_scram = "SET password_encryption = 'scram-sha-256';\n"
    desk.sql(as_scram + "\n".join(printed).replace("/* PASSWORD '...' */", "PASSWORD 'by hand'"))
    assert place.statements() == [DONE]
    desk.variables["CDC_SOURCE_PASSWORD"] = "by hand"
    assert [(each.severity, each.detail[:12]) for each in desk.troubles()] == [("warning", "large values")]


def test_without_a_server_that_answers_all_of_it_is_printed(place: Place) -> None:
    desk = place.desk
    said = desk.cdc("setup")  # the role does not exist, so it cannot look
    assert said.code == 0 and PASSWORD not in said.out
    lines = said.out.splitlines()
    assert "is not known" in lines[0]
    desk.sql("\n".join(lines))
    assert [line for line in place.statements() if not line.startswith("--")] == (
        [f"ALTER PUBLICATION {_quoted(place.publication)} SET (publish_generated_columns = stored);"]
        if desk.server.version >= 18
        else []
    )


def test_X16_teardown_asks_and_leaves_neither_slot_nor_publication(place: Place) -> None:
    desk = place.desk
    assert desk.cdc("setup", "--apply", "--admin", desk.admin).code == 0
    desk.sql("SELECT pg_create_logical_replication_slot('cdc_shop', 'pgoutput')")
    for answer in ("n", "", None):
        said = desk.cdc("teardown", "--admin", desk.admin, answer=answer)
        assert said.code == 1 and "Nothing was changed." in said.out
        assert "pg_drop_replication_slot('cdc_shop')" in said.out and "DROP PUBLICATION" in said.out
    assert len(desk.ask("SELECT 1 FROM pg_replication_slots")) == len(desk.ask("SELECT 1 FROM pg_publication")) == 1
    assert desk.cdc("teardown", "--admin", desk.admin, answer="y").code == 0
    _assert_nothing_left(desk)


def test_teardown_refuses_while_somebody_reads_the_slot(quiet_server: PostgresServer, tmp_path: Path) -> None:
    desk = Place(quiet_server, tmp_path, PLAIN).desk
    assert desk.cdc("setup", "--apply", "--admin", desk.admin).code == 0
    desk.sql("SELECT pg_create_logical_replication_slot('cdc_shop', 'pgoutput')")
    with closing(psycopg.connect(desk.server.dsn("shop", replication="database"), autocommit=True)) as other:
        start = "START_REPLICATION SLOT cdc_shop LOGICAL 0/0 (proto_version '1', publication_names 'cdc_shop')"
        other.pgconn.send_query(start.encode())
        active = "SELECT 1 FROM pg_replication_slots WHERE active"
        wait_until(lambda: bool(desk.ask(active)), 10.0, "the slot is read")
        said = desk.cdc("teardown", "--yes", "--admin", desk.admin)
        assert said.code == 6 and f"PID {other.info.backend_pid}\n" in said.err


def test_P16_what_would_break_the_application_is_left_out(quiet_server: PostgresServer, tmp_path: Path) -> None:
    desk = Place(quiet_server, tmp_path, PLAIN).desk
    desk.variables["CDC_TABLES"] = "public.*"
    desk.sql("CREATE TABLE public.keyless (n int)", "INSERT INTO public.keyless VALUES (1)")
    for _ in range(2):
        said = desk.cdc("setup", "--apply", "--admin", desk.admin)
        assert said.code == 0, said.err
        assert (
            '--   ALTER TABLE "public"."keyless" REPLICA IDENTITY FULL; -- or CDC_POSTGRES_KEYLESS=public.keyless'
            in said.out.splitlines()
        )
    desk.sql("UPDATE public.keyless SET n = 2")  # fails where it is published
    assert desk.trouble("table public.keyless", "has no primary key").severity == "error"
    desk.variables["CDC_POSTGRES_KEYLESS"] = "public.keyless"
    assert 'ADD TABLE "public"."keyless"' in desk.cdc("setup", "--admin", desk.admin).out


def test_a_server_that_does_not_answer(quiet_server: PostgresServer, tmp_path: Path) -> None:
    desk = Place(quiet_server, tmp_path, PLAIN).desk
    desk.variables["CDC_SOURCE"] = "postgresql://cdc_shop@127.0.0.1:1/shop"
    for command in (["setup", "--apply"], ["teardown", "--yes"]):
        said = desk.cdc(*command)
        assert said.code == 2 and "Start the server" in said.err
    assert desk.cdc("setup").code == 0


def test_an_administrators_password_is_not_shown(quiet_server: PostgresServer, tmp_path: Path) -> None:
    desk = Place(quiet_server, tmp_path, PLAIN).desk
    for admin in (
        f"postgresql://nobody:{'canary-admin-secret'}@127.0.0.1:{desk.server.port}/",
        "postgresql://x:canary-admin-secret@@/",
        "mysql://x:canary-admin-secret@h/",
    ):
        said = desk.cdc("setup", "--apply", "--admin", admin)
        assert said.code != 0 and "canary-admin-secret" not in said.out + said.err
