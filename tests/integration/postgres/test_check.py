"""`cdc check` against real servers: everything that is wrong is found, and each fix, followed to the letter, mends it."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.faults.connector import Connector
from tests.integration.postgres.operator_desk import Desk, _quiet_server, quiet_server, version
from tests.servers import PostgresServer
from tests.servers.plugin import StartPostgres

__all__ = ["_quiet_server", "quiet_server", "version"]

WRONG = (
    "CREATE ROLE cdc LOGIN CREATEDB CREATEROLE",
    "CREATE SCHEMA closed",
    "CREATE TABLE closed.secret (id int PRIMARY KEY)",
    "CREATE TABLE public.orders (id int PRIMARY KEY, amount int, note text)",
    "CREATE TABLE public.keyless (n int)",
    "CREATE TABLE public.candidate (n int NOT NULL)",
    'CREATE UNIQUE INDEX "candidate\'s" ON public.candidate (n)',
    "CREATE TABLE public.nothing (id int PRIMARY KEY)",
    "ALTER TABLE public.nothing REPLICA IDENTITY NOTHING",
    "CREATE UNLOGGED TABLE public.cache (id int PRIMARY KEY)",
    "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
    "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE FOREIGN TABLE public.far (id int) SERVER elsewhere",
    "CREATE VIEW public.seen AS SELECT 1 AS one",
    "CREATE TABLE public.sums (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a + 1) STORED)",
    "CREATE TABLE public.parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
    "CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE public.parts_2 PARTITION OF public.parts FOR VALUES FROM (100) TO (200)",
    "ALTER TABLE public.parts_2 REPLICA IDENTITY NOTHING",
    "CREATE TABLE public.parent (id int PRIMARY KEY)",
    "CREATE TABLE closed.child (PRIMARY KEY (id)) INHERITS (public.parent)",
    "CREATE PUBLICATION cdc_shop FOR TABLE public.sums, public.parts WITH (publish = 'insert, update')",
    "SELECT pg_create_physical_replication_slot('somebody')",
)
EXPECTED = {
    ("error", "wal_level", "replica"),
    ("error", "slots", "all 1 replication slots are in use"),
    ("warning", "wal_sender_timeout", "0"),
    ("warning", "role", "CREATEROLE, CREATEDB"),
    ("error", "privileges", "no USAGE on schema closed"),
    ("error", "privileges", "no SELECT on public.orders"),
    ("error", "replication", "no replication connection"),
    ("warning", "publication", "does not publish delete, truncate"),
    ("error", "publication", "public.parts was selected: nothing of it would come"),
    ("error", "tables", "public.seen is a view"),
    ("error", "tables", "public.Orders does not exist; public.orders does"),
    ("error", "tables", "public.absent_for_ever does not exist"),
    ("warning", "tables", "nowhere.* matches no table"),
    ("error", "table public.cache", "unlogged"),
    ("error", "table public.candidate", "no primary key"),
    ("error", "table public.keyless", "no primary key"),
    ("error", "table public.nothing", "REPLICA IDENTITY NOTHING"),
    ("error", "table public.orders", "is not in publication cdc_shop"),
    ("warning", "table public.orders", "large values that an UPDATE leaves alone are absent from its event: note"),
    ("error", "table public.parts", "partition public.parts_2 has no identity"),
    ("warning", "table public.parent", "closed.child"),
    ("warning", "max_slot_wal_keep_size", "-1"),
}
EXPECTED_13 = {("warning", "table public.sums", "before PostgreSQL 18: b")}
EXPECTED_18 = {
    ("warning", "publication", "leaves out the stored generated columns of public.sums"),
    ("warning", "table public.virtual", "virtual generated columns are never in the log: twice"),
    ("error", "table public.whole", "REPLICA IDENTITY FULL with generated columns that are not published (twice)"),
    ("warning", "idle_replication_slot_timeout", "60 s"),
    ("warning", "publication", "of public.rows only rows where"),
    ("error", "publication", "the column list of public.cells leaves out id"),
}
WRONG_18 = (
    "CREATE TABLE public.virtual (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL)",
    "CREATE TABLE public.whole (a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL)",
    "ALTER TABLE public.whole REPLICA IDENTITY FULL",
    "CREATE TABLE public.rows (id int PRIMARY KEY)",
    "CREATE TABLE public.cells (id int PRIMARY KEY, a int)",
    "ALTER PUBLICATION cdc_shop ADD TABLE public.rows WHERE (id > 5), public.cells (a)",
)
TABLES = "public.*,closed.secret,public.seen,public.Orders,public.absent_for_ever,nowhere.*,!public.far"


def _everything_wrong(postgres_server: StartPostgres, version: int, folder: Path) -> Desk:
    server = postgres_server(version, wal_level="replica", max_replication_slots="1", wal_sender_timeout="0")
    server.create_database("shop")
    if version >= 18:
        server.execute("ALTER SYSTEM SET idle_replication_slot_timeout = '60s'")
        server.execute("SELECT pg_reload_conf()")
    desk = Desk(server, "shop", folder, CDC_TABLES=TABLES)
    desk.sql(*WRONG, *(WRONG_18 if version >= 18 else ()))
    return desk


@pytest.mark.slow
def test_each_fix_of_all_that_is_wrong_mends_it_and_then_it_runs(
    postgres_server: StartPostgres, version: int, tmp_path: Path
) -> None:
    desk = _everything_wrong(postgres_server, version, tmp_path)
    found = {(each.severity, each.subject, each.detail) for each in desk.troubles()}
    for severity, subject, words in EXPECTED | (EXPECTED_18 if version >= 18 else EXPECTED_13):
        assert any(s == severity and t == subject and words in d for s, t, d in found), (subject, words, found)
    left = desk.troubles()
    while left:
        left = desk.mend(left[0])
    _runs(desk, tmp_path)


def _runs(desk: Desk, folder: Path) -> None:
    """After all the mending the connector starts, as the role that was mended, and publishes."""
    with Connector(folder, desk.variables) as connector:
        connector.start().wait_ready()
        desk.sql("INSERT INTO public.orders VALUES (1, 2, 'three')", "UPDATE public.keyless SET n = 1")
        connector.wait_until(lambda: any("orders" in json.dumps(event) for event in desk.events()), what="the event")
        assert connector.term() == 0


@pytest.fixture
def desk(quiet_server: PostgresServer, tmp_path: Path) -> Desk:
    quiet_server.create_database("shop")
    made = Desk(quiet_server, "shop", tmp_path)
    made.sql("CREATE ROLE cdc LOGIN REPLICATION", "CREATE TABLE public.orders (id int PRIMARY KEY)")
    made.sql("GRANT SELECT ON public.orders TO cdc")
    made.sql("CREATE PUBLICATION cdc_shop FOR TABLE public.orders WITH (publish_via_partition_root = true)")
    made.mend(made.trouble("physical copies", "may also copy the whole cluster"))
    return made


def test_S3_who_may_read_the_log_may_copy_the_cluster_unless_forbidden(desk: Desk) -> None:
    """The fixture has followed the fix; without it the server hands itself over."""
    physical = desk.server.dsn("shop", user="cdc", replication="true")
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects replication connection"):
        psycopg.connect(physical)
    file = desk.server.data_dir / "pg_hba.conf"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    desk.sql("SELECT pg_reload_conf()")
    with psycopg.connect(physical, autocommit=True) as connection:
        assert connection.execute("IDENTIFY_SYSTEM").fetchone()
    assert desk.mend(desk.trouble("physical copies", "may also copy the whole cluster")) == []


def test_S2_a_superuser_is_a_warning(desk: Desk) -> None:
    desk.sql("ALTER ROLE cdc SUPERUSER")
    assert desk.mend(desk.trouble("role", "cdc is a superuser")) == []
    desk.variables["CDC_SOURCE"] = desk.server.dsn("shop")
    trouble = desk.trouble("role", "postgres is a superuser")
    assert "Name a role of its own in CDC_SOURCE" in trouble.fix  # the first one of a cluster must stay one


def test_a_publication_that_the_role_can_make_is_no_trouble(desk: Desk) -> None:
    desk.sql("DROP PUBLICATION cdc_shop")
    trouble = desk.trouble("publication", "it has no CREATE on the database")
    desk.sql("GRANT CREATE ON DATABASE shop TO cdc")
    assert "it does not own public.orders" in desk.trouble("publication", "cdc may not make it").detail
    desk.sql("ALTER TABLE public.orders OWNER TO cdc")
    assert desk.troubles() == []
    desk.variables["CDC_POSTGRES_CREATE"] = "slot"
    assert desk.trouble("publication", "CDC_POSTGRES_CREATE does not allow to make it").fix == trouble.fix
    assert desk.mend(trouble) == []


def test_a_table_above_and_tables_beside(desk: Desk) -> None:
    """A partition whose root is what is published (P26), and tables that only the publication reaches (P16)."""
    desk.sql(
        "CREATE TABLE public.root (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE public.leaf PARTITION OF public.root FOR VALUES FROM (0) TO (9)",
        "CREATE TABLE public.log (line int)",
        "ALTER PUBLICATION cdc_shop ADD TABLE public.root, public.log",
        "GRANT SELECT ON public.root, public.leaf TO cdc",
    )
    desk.variables["CDC_TABLES"] = "public.orders,public.leaf"
    assert "public.log" in desk.trouble("tables", "UPDATE and DELETE fail on tables that are not selected").detail
    desk.mend(desk.trouble("tables", "UPDATE and DELETE fail"))
    assert desk.mend(desk.trouble("table public.leaf", "is published as its root public.root")) == []


def test_partitions_of_a_root_whose_rows_are_logged_whole(desk: Desk) -> None:
    desk.sql(
        "CREATE TABLE public.root (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE public.leaf PARTITION OF public.root FOR VALUES FROM (0) TO (9)",
        "GRANT SELECT ON public.root TO cdc",
        "ALTER PUBLICATION cdc_shop ADD TABLE public.root",
    )
    trouble = desk.trouble("table public.root", "large values")
    desk.sql("ALTER TABLE public.root REPLICA IDENTITY FULL")
    desk.mend(desk.trouble("table public.root", "what is left out would be read as NULL"))
    desk.sql("ALTER TABLE public.root REPLICA IDENTITY DEFAULT", "ALTER TABLE public.leaf REPLICA IDENTITY DEFAULT")
    assert desk.mend(trouble) == []


def test_two_tables_never_share_a_topic(desk: Desk) -> None:
    desk.sql('CREATE TABLE public."or!ders" (id int PRIMARY KEY)', 'CREATE TABLE public."or?ders" (id int PRIMARY KEY)')
    desk.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO cdc")
    desk.sql('ALTER PUBLICATION cdc_shop ADD TABLE public."or!ders", public."or?ders"')
    assert "would both go to topic shop.public.or_ders" in desk.trouble("topics", "public.or!ders").detail
    desk.variables["CDC_TOPIC"] = "x" * 243 + "{table}"
    assert len([each for each in desk.troubles() if each.subject == "topics"]) == 2  # orders still fits
    desk.variables |= {"CDC_TOPIC": "{name}.gap", "CDC_TABLES": "public.orders"}
    assert "CDC_GAP_TOPIC" in desk.trouble("topics", "would both go to topic shop.gap").detail


def test_keyless_takes_the_operators_word(desk: Desk) -> None:
    desk.sql("CREATE TABLE public.log (line int)", "GRANT SELECT ON public.log TO cdc")
    desk.sql("ALTER PUBLICATION cdc_shop ADD TABLE public.log")
    trouble = desk.trouble("table public.log", "has no primary key")
    desk.follow(trouble.fix.partition(" -- or ")[2])
    assert desk.variables["CDC_POSTGRES_KEYLESS"] == "public.log"
    assert desk.troubles() == []
    desk.variables["CDC_POSTGRES_KEYLESS"] = "nonsense"
    assert "CDC_POSTGRES_KEYLESS" in desk.trouble("tables", "cannot read 'nonsense'").fix  # and hides nothing else
    assert any(each.subject == "slot" for each in desk.check())


def test_a_database_that_promises_no_encoding(desk: Desk) -> None:
    desk.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    desk.variables["CDC_SOURCE"] = desk.server.dsn("bytes", user="cdc")
    desk.mend(desk.trouble("encoding", "SQL_ASCII"))


def test_text_for_people_and_for_a_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said = desk.cdc("check")
    lines = said.out.splitlines()
    assert said.code == 0 and lines[-1] == "no errors, no warnings"
    assert lines[0].startswith("ok       server ")
    assert len({line.index("  ", 9 + len(line[9:].split()[0])) for line in lines[:-1] if "wal_sender" in line}) == 1
    monkeypatch.setattr("cdc.cli.check.on_terminal", lambda: True)
    assert "\x1b[32mok      \x1b[0m server" in desk.cdc("check").out


def test_what_cannot_be_reached_or_read_is_told_and_hides_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.variables["CDC_SOURCE"] = "postgresql://cdc@127.0.0.1:1/shop"
    desk.variables["CDC_CHECKPOINT"] = f"file://{tmp_path}/absent/shop.checkpoint"
    subjects = {(each.subject, each.severity) for each in desk.check()}
    assert {("server", "error"), ("checkpoint", "error"), ("sink", "ok")} <= subjects
    folder = desk.trouble("checkpoint", "cannot be written")
    assert folder.fix.startswith("install -d")
    desk.variables["CDC_TABELS"] = "x"
    wrong = desk.check()
    assert [(each.subject, each.severity) for each in wrong] == [("settings", "error")]
    assert "CDC_TABLES" in wrong[0].detail


def test_check_leaves_nothing_behind(desk: Desk, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir()) | {desk.env_file}
    slots = desk.ask("SELECT slot_name FROM pg_replication_slots")
    desk.check()
    assert set(tmp_path.iterdir()) == before
    assert desk.ask("SELECT slot_name FROM pg_replication_slots") == slots
    assert desk.ask("SELECT pid FROM pg_stat_replication") == []
