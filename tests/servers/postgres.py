"""A real PostgreSQL server that belongs to the suite.

The data folder is a copy of a template that is initialised once per version and kept in the cache: 0.2 s instead of
the second that initdb takes. A copy keeps the system identifier; a test about two servers that must be told apart
asks for a fresh one.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from tests.servers.catalogue import POSTGRES, postgres_versions
from tests.servers.install import build_once, install_postgres
from tests.servers.process import (
    Account,
    LocalServer,
    ServerError,
    plain_environment,
    private_folder,
    remove_folder,
    settings_text,
)

START_SECONDS = 60.0
STOP_SECONDS = 60.0
SETTINGS_FILE = "server.conf"
STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
DEFAULTS = {
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    # Data outlives kill -9 in the kernel's page cache; only a power cut would need more.
    "fsync": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%a ",
    # Inside the data folder, so that nothing stays in /dev/shm when a killed server is never started again.
    "dynamic_shared_memory_type": "mmap",
}


class PostgresServer(LocalServer):
    """One server; ``pid`` is the postmaster's.

    ``settings`` are lines of postgresql.conf on top of ours; change the dictionary and ``restart()`` to apply others
    (ALTER SYSTEM works too). ``initdb`` holds further options of initdb, such as ``--wal-segsize=1``. ``seed`` is
    the data folder of a stopped server to copy instead of the template, for standbys and restored backups.
    """

    def __init__(
        self,
        version: int | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        fresh_system_identifier: bool = False,
        initdb: Sequence[str] = (),
        seed: Path | None = None,
    ) -> None:
        self.version = version or postgres_versions()[-1]
        super().__init__(POSTGRES[self.version].title, Account.unprivileged())
        self.settings = dict(settings or {})
        self._initdb = tuple(initdb)
        self._fresh = fresh_system_identifier
        self._seed = seed
        self._binaries = install_postgres(self.version) / "bin"

    @property
    def socket_dir(self) -> Path:
        """Where its Unix socket is; the path is short enough for one."""
        return self.folder

    def dsn(self, dbname: str = "postgres", user: str = "postgres", **params: str) -> str:
        """A URL for libpq; the server trusts any user that exists."""
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        return f"postgresql://{quote(user, safe='')}@{self.host}:{self.port}/{quote(dbname, safe='')}{query}"

    def prepare(self) -> None:
        """Make the data folder without starting, for a test that puts files into it first."""
        if self.data_dir.exists():
            return
        if self._fresh and self._seed is None:
            initialise(self._binaries, self.data_dir, self._initdb)
            return
        source = self._seed or template(self.version, self._initdb) / "data"
        shutil.copytree(source, self.data_dir, symlinks=True, ignore=shutil.ignore_patterns("postmaster.*"))
        if self._account is not None:
            self._account.take(self.data_dir)

    def start(self) -> None:
        """Start on the same port and data as before; return when queries are answered."""
        self.prepare()
        self._write_settings()
        command = [str(self._binaries / "postgres"), "-D", str(self.data_dir)]
        self._run([*command, "-c", f"config_file={self.data_dir / SETTINGS_FILE}"], self._answers, START_SECONDS)

    def _write_settings(self) -> None:
        """What initdb wrote comes first; ALTER SYSTEM still has the last word."""
        ours = {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        text = settings_text({**DEFAULTS, **ours, **self.settings}, quote=_quoted)
        file = self.data_dir / SETTINGS_FILE
        file.write_text(f"include 'postgresql.conf'\n{text}")
        if self._account is not None:
            self._account.take(file)  # or an umask of ours would hide it from the server

    def stop(self, mode: Literal["fast", "immediate"] = "fast", seconds: float = STOP_SECONDS) -> None:
        """Shut down. ``fast`` waits until every walsender has sent all it has, for ever if its client does not read;
        ``immediate`` is a crash, and the next start recovers."""
        process = self._alive()
        process.resume()  # a paused server would not hear the signal
        process.stop(STOP_SIGNALS[mode], seconds)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it if it runs, and start."""
        if self.running:
            self.stop(mode)
        self.start()

    def execute(
        self, statement: str, params: Sequence[Any] | None = None, dbname: str = "postgres", **options: str
    ) -> list[tuple[Any, ...]]:
        """Run on a connection of its own, in autocommit; return the rows of the last statement as tuples.

        Without ``params`` there may be several statements, which are then one transaction. ``options`` are the
        connection's, as in ``dsn``.
        """
        with psycopg.connect(self.dsn(dbname, **options), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), params)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> str:
        """Create an empty database; return its URL."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(connect_timeout="5")).close()
        except psycopg.OperationalError:
            return False
        return True


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def template(version: int, options: tuple[str, ...] = ()) -> Path:
    """The cached folder whose ``data`` is an initialised cluster of that version and these options of initdb."""
    suffix = "".join(f"_{option.lstrip('-')}" for option in options).replace("/", "_")
    binaries = install_postgres(version) / "bin"
    name = f"template-{POSTGRES[version].name}{suffix}"
    return build_once(name, lambda folder: _make_template(binaries, folder, options))


def _make_template(binaries: Path, folder: Path, options: Sequence[str]) -> None:
    """The cache may be closed to the server's user for writing, so it is made elsewhere and moved."""
    scratch = private_folder("cdc-initdb-", Account.unprivileged())
    try:
        initialise(binaries, scratch / "data", options)
        shutil.move(scratch / "data", folder / "data")
    finally:
        remove_folder(scratch)


def initialise(binaries: Path, data: Path, options: Sequence[str] = ()) -> None:
    """Run initdb; its parent folder must belong to the server's user."""
    # C.UTF-8 knows what a letter is and sorts as C does, but not every system has it.
    result = _initdb(binaries, data, ["--locale=C.UTF-8", *options])
    if result.returncode != 0 and b"invalid locale" in result.stdout:
        result = _initdb(binaries, data, ["--locale=C", *options])
    if result.returncode != 0:
        raise ServerError(f"initdb failed:\n{result.stdout.decode(errors='replace')}")


def _initdb(binaries: Path, data: Path, options: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    account = Account.unprivileged()
    command = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    return subprocess.run(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=plain_environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
