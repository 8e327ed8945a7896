"""One libpq connection, in either mode: plain SQL, or `replication=database` with COPY BOTH.

Sends and waits with a time limit; knows nothing of slots or rows. Uses psycopg's `pq` layer, since replication has no other door.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from cdc.errors import CdcError, SettingsError
from cdc_postgres.faults import translate
from cdc_postgres.sql import Rows

CONNECT_TIMEOUT = 10  # seconds
STATEMENT_TIMEOUT = 60.0

# Whatever the role or the database sets, an event looks the same.
SESSION = (
    "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'UTC'; "
    "SET bytea_output = 'hex'; SET extra_float_digits = 1; SET lc_monetary = 'C'; SET statement_timeout = 0; SET lock_timeout = 0; "
    "SET idle_in_transaction_session_timeout = 0; SET search_path = pg_catalog; SET quote_all_identifiers = off; "
    "SET default_transaction_read_only = off; SET client_min_messages = 'warning'"
)
# From 14 on the server may end sessions that are idle. Asked of pg_settings, since 13 has no such setting.
NEVER_IDLE_OUT = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Where and how to connect. `tls` None: plain where the host is this machine, `verify-full` elsewhere."""

    url: str
    application_name: str
    password: SecretStr | None = None
    tls: str | None = None
    tls_ca: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    def conninfo(self, replication: bool) -> str:
        """libpq's connection string. Raises SettingsError for a URL that libpq cannot read."""
        parts = urlsplit(self.url)
        query = dict(parse_qsl(parts.query))
        tls = query.pop("tls", None) or self.tls
        host = query.pop("host", "") or unquote(parts.hostname or "")
        known: dict[str, Any] = {
            "host": host or None,
            "port": parts.port,
            "user": unquote(parts.username) if parts.username else None,
            "dbname": unquote(parts.path.lstrip("/")) or None,
            "password": self.password.get_secret_value() if self.password else None,
            "application_name": self.application_name,
            "connect_timeout": CONNECT_TIMEOUT,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            **_tls(tls, _goes_to(host, query.get("hostaddr", "")), self.tls_ca),
            **query,
        }
        if replication:
            known["replication"] = "database"
        try:
            return make_conninfo("", **{name: value for name, value in known.items() if value is not None})
        except psycopg.ProgrammingError as error:
            raise SettingsError(f"CDC_SOURCE: {error}", fault="source-url") from None


def _goes_to(host: str, address: str) -> str:
    """Where libpq connects in the end: an address wins over a name, and its own variables stand in for what is not given."""
    return address or os.environ.get("PGHOSTADDR", "") or host or os.environ.get("PGHOST", "")


def _tls(tls: str | None, host: str, ca: str) -> dict[str, str]:
    if tls == "off":
        return {"sslmode": "disable"}
    if tls is None and is_local(host):
        return {"sslmode": "prefer"}
    return {"sslmode": tls or "verify-full", **({"sslrootcert": ca} if ca else {})}


def is_local(host: str) -> bool:
    """Loopback, or a Unix socket: nobody else can listen."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Connection:
    """Raises what `faults.translate` makes of a driver's error."""

    def __init__(self, options: ConnectionOptions, *, replication: bool) -> None:
        conninfo = options.conninfo(replication)
        self.pgconn = pq.PGconn.connect(conninfo.encode())
        if self.pgconn.status != pq.ConnStatus.OK:
            message = self.pgconn.get_error_message()
            self.pgconn.finish()
            raise translate(None, message)
        self.pgconn.nonblocking = 1
        self.query(SESSION)
        if not replication:
            self.query(NEVER_IDLE_OUT)

    @property
    def server_version(self) -> int:
        """As 180006."""
        return self.pgconn.server_version

    @property
    def tls_in_use(self) -> bool:
        return bool(self.pgconn.ssl_in_use)

    def literal(self, text: str) -> str:
        return bytes(pq.Escaping(self.pgconn).escape_literal(text.encode())).decode()

    def query(
        self,
        sql: str,
        timeout: float = STATEMENT_TIMEOUT,
        waiting: Callable[[], None] | None = None,
        patience: float = 10.0,
    ) -> Rows:
        """Run one simple query and return the rows of its last result as text.

        `waiting` is called every `patience` seconds until the answer comes.
        """
        self.send(sql)
        end, told = time.monotonic() + timeout, time.monotonic() + patience
        while (rows := self.answer(min(1.0, timeout))) is None:
            if time.monotonic() > end:
                raise translate("57014", f"no answer within {timeout:g} s")
            if waiting and time.monotonic() > told:
                waiting()
                told = time.monotonic() + patience
        return rows

    def send(self, sql: str) -> None:
        try:
            self.pgconn.send_query(sql.encode())
            while self.pgconn.flush():
                select.select([], [self.pgconn.socket], [], 1.0)
        except psycopg.Error as error:
            raise translate(None, str(error)) from None

    def answer(self, timeout: float) -> Rows | None:
        """The rows of the query that was sent; None while the server is still at it."""
        try:
            while self.pgconn.is_busy():
                if not select.select([self.pgconn.socket], [], [], timeout)[0]:
                    return None
                self.pgconn.consume_input()
            return self._results()
        except psycopg.Error as error:
            raise translate(None, str(error)) from None

    def _results(self) -> Rows:
        rows: Rows = []
        failure: CdcError | None = None
        while (result := self.pgconn.get_result()) is not None:
            if result.status == pq.ExecStatus.COPY_BOTH:
                return rows
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failure = failure or failed(result)
            elif result.status == pq.ExecStatus.TUPLES_OK:
                rows = [
                    tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
                    for row in range(result.ntuples)
                ]
        if failure:
            raise failure
        return rows

    def close(self) -> None:
        self.pgconn.finish()


def failed(result: pq.abc.PGresult) -> CdcError:
    """What an error result means."""
    state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
    return translate(state.decode(), message.decode("utf-8", "replace"))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
