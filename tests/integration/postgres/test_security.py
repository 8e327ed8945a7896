"""S1: who the server is. One PostgreSQL with a certificate of its own, and one without TLS."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cdc.errors import SettingsError
from cdc_postgres.connection import Connection, ConnectionOptions
from tests.servers.plugin import StartPostgres
from tests.servers.postgres import PostgresServer

VERIFIED = "verify-full"


def connect(server: PostgresServer, ca: Path | str, host: str = "127.0.0.1") -> None:
    """As the connector does it for a host that is not this machine; raises what it would."""
    url = server.dsn().replace(server.host, host)
    connection = Connection(ConnectionOptions(url, "cdc", tls=VERIFIED, tls_ca=str(ca)), replication=True)
    try:
        assert connection.pgconn.ssl_in_use
    finally:
        connection.close()


@pytest.fixture
def guarded(postgres_server: StartPostgres, tmp_path: Path) -> tuple[PostgresServer, Path]:
    """A server that is 127.0.0.1 and nobody else, and what vouches for it. It makes its key itself, so that it owns it."""
    server = postgres_server(18)
    openssl = shutil.which("openssl")
    assert openssl is not None, "Debian's ca-certificates bring it"
    make = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=database -addext subjectAltName=IP:127.0.0.1"
    server.execute(f"COPY (SELECT 1) TO PROGRAM '{make} -keyout server.key -out server.crt 2>/dev/null'")
    server.settings["ssl"] = "on"
    server.restart()
    ca = tmp_path / "ca.pem"
    ca.write_bytes((server.data_dir / "server.crt").read_bytes())
    return server, ca


def refused(server: PostgresServer, ca: Path | str, host: str = "127.0.0.1") -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        connect(server, ca, host)
    assert caught.value.action
    return caught.value


def test_S1_a_server_is_asked_who_it_is(guarded: tuple[PostgresServer, Path]) -> None:
    server, ca = guarded
    connect(server, ca)
    assert refused(server, "/etc/ssl/certs/ca-certificates.crt").fault == "certificate-not-trusted"
    assert refused(server, ca, host="localhost").fault == "certificate-name-mismatch"
    assert refused(server, ca.with_name("nothing.pem")).fault == "ca-file-unreadable"


def test_S1_a_server_without_tls_is_refused_and_the_way_out_is_named(postgres: PostgresServer, tmp_path: Path) -> None:
    failure = refused(postgres, "/etc/ssl/certs/ca-certificates.crt")
    assert failure.fault == "server-speaks-plain-text"
    assert "tls=off" in failure.action
