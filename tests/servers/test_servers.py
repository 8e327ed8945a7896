"""The servers themselves: each starts, streams, survives being killed, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import PostgresServer, ServerError, postgres_versions
from tests.servers.plugin import StartPostgres

CHANGES = "SELECT data FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'proto_version', '1', {})"


@pytest.mark.parametrize("version", postgres_versions())
def test_postgres_keeps_slot_and_rows_over_kill(postgres_server: StartPostgres, version: int) -> None:
    server = postgres_server(version)
    assert server.execute("SHOW server_version")[0][0].startswith(f"{version}.")
    server.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
    server.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    server.execute("INSERT INTO t VALUES (1)")
    postmaster = server.pid
    server.kill9()
    assert not server.running
    assert not Path(f"/proc/{postmaster}").exists()
    server.restart()
    assert server.pid != postmaster
    assert server.execute("SELECT id FROM t") == [(1,)]
    messages = server.execute(CHANGES.format("'publication_names', 'p'"))
    assert [bytes(row[0])[:1] for row in messages] == [b"B", b"R", b"I", b"C"]


def test_every_postgres_is_the_version_asked_for(every_postgres: PostgresServer) -> None:
    assert int(every_postgres.execute("SHOW server_version_num")[0][0]) // 10_000 == every_postgres.version


def test_postgres_settings_and_restart_modes(postgres_server: StartPostgres) -> None:
    server = postgres_server(max_slot_wal_keep_size="1MB")
    assert server.execute("SHOW max_slot_wal_keep_size") == [("1MB",)]
    server.settings["wal_sender_timeout"] = "7s"
    server.restart("immediate")
    assert server.execute("SHOW wal_sender_timeout; SHOW fsync") == [("off",)]
    assert server.execute("SHOW wal_sender_timeout") == [("7s",)]


def test_postgres_pause_answers_nothing_until_resumed(postgres_server: StartPostgres) -> None:
    server = postgres_server()
    server.pause()
    with pytest.raises(Exception, match="timeout"):
        server.execute("SELECT 1", connect_timeout="2")
    server.resume()
    assert server.execute("SELECT 1") == [(1,)]


def test_postgres_identity_is_the_templates_unless_fresh(
    postgres: PostgresServer, postgres_server: StartPostgres
) -> None:
    identity = "SELECT system_identifier FROM pg_control_system()"
    assert postgres_server().execute(identity) == postgres.execute(identity)
    assert postgres_server(fresh_system_identifier=True).execute(identity) != postgres.execute(identity)


def test_postgres_url_and_database(postgres: PostgresServer) -> None:
    assert postgres.create_database("a b") == postgres.dsn("a b")
    assert postgres.execute("SELECT current_database()", dbname="a b") == [("a b",)]
    assert postgres.dsn(user="u@x", application_name="a&b").endswith("/postgres?application_name=a%26b")
    assert postgres.dsn(user="u@x").startswith("postgresql://u%40x@127.0.0.1:")


def test_postgres_that_cannot_start_says_why(postgres_server: StartPostgres) -> None:
    with pytest.raises(ServerError, match="no_such_setting"):
        postgres_server(no_such_setting="1")


def test_killed_suite_leaves_nothing() -> None:
    script = (
        "import time; from tests.servers import PostgresServer; s = PostgresServer(); s.start();"
        "print(s.pid, s.socket_dir, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as suite:
        assert suite.stdout is not None
        pid, folder = suite.stdout.readline().split()
        assert Path(folder).exists()
        os.kill(suite.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(folder).exists() or Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
