"""An operator before a server of their own: `cdc` commands on an env file, and fixes carried out to the letter.

A fix is followed as it is printed: SQL as an administrator, `CDC_…=…` into the env file, `cdc …` as a command, a line into
pg_hba.conf, and a restart where it says so. So a fix that is wrong fails the test that follows it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from cdc.cli import main
from tests.faults.connector import wait_until
from tests.servers import PostgresServer, postgres_versions
from tests.servers.require import required

_STATEMENT = re.compile(r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^;"'])+;""")
_HBA = re.compile(r"^(?:host|local) .* reject$")


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Found:
    """One finding as `--format json` gives it."""

    severity: str
    subject: str
    detail: str
    fix: str

    @property
    def what(self) -> tuple[str, str]:
        return self.subject, self.detail


class Desk:
    """`role` is the connector's; the administrator is the server's superuser."""

    def __init__(
        self, server: PostgresServer, database: str, folder: Path, role: str = "cdc", **variables: str
    ) -> None:
        self.server = server
        self.database = database
        self.role = role
        self.env_file = folder / "cdc.env"
        self.out = folder / "out"
        self.variables = {
            "CDC_NAME": "shop",
            "CDC_SOURCE": server.dsn(database, user=role),
            "CDC_SINK": f"file://{self.out}",
            "CDC_TABLES": "public.*",
            "CDC_CHECKPOINT": f"file://{folder / 'shop.checkpoint'}",
            **variables,
        }

    @property
    def admin(self) -> str:
        return self.server.dsn()

    def sql(self, *statements: str) -> None:
        """As the administrator, each in autocommit."""
        with psycopg.connect(self.server.dsn(self.database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def ask(self, question: str) -> list[tuple[object, ...]]:
        return self.server.execute(question, dbname=self.database)

    def cdc(self, *arguments: str, answer: str | None = None) -> Said:
        """One command in this process. `answer` is typed when it asks; None is nobody there."""
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in self.variables.items()))
        out, err = StringIO(), StringIO()

        def reply(question: str) -> str:
            out.write(question)
            if answer is None:
                raise EOFError
            return answer

        with redirect_stdout(out), redirect_stderr(err), patch("builtins.input", reply):
            words = [*arguments]
            words[1 if arguments[0] != "checkpoint" else 2 : 0] = ["--env-file", str(self.env_file)]
            code = main(words)
        return Said(code, out.getvalue(), err.getvalue())

    def check(self) -> list[Found]:
        said = self.cdc("check", "--format", "json")
        found = [Found(**each) for each in json.loads(said.out)]
        assert said.code == (1 if any(each.severity == "error" for each in found) else 0), said.err
        return found

    def troubles(self) -> list[Found]:
        found = [each for each in self.check() if each.severity != "ok"]
        assert all(each.fix for each in found), "each trouble comes with what mends it"
        return found

    def trouble(self, subject: str, words: str) -> Found:
        """The one finding about `subject` that says `words`."""
        found = [each for each in self.troubles() if each.subject == subject and words in each.detail]
        assert len(found) == 1, f"{subject}: {words!r} not found once in:\n" + "\n".join(map(str, self.troubles()))
        return found[0]

    def mend(self, trouble: Found) -> list[Found]:
        """Follow the fix; afterwards the finding must be gone. What is left."""
        self.follow(trouble.fix)
        left = self.troubles()
        assert trouble.what not in [each.what for each in left], f"{trouble} is still there"
        return left

    def follow(self, fix: str) -> None:
        if fix.startswith("CDC_"):
            name, _, value = fix.partition(" -- ")[0].partition("=")
            self.variables[name] = value
        elif fix.startswith("cdc "):
            said = self.cdc(*fix.partition(" --")[0].split()[1:])
            assert said.code == 0, said.err
        elif fix.startswith("pg_hba.conf"):
            self._forbid(fix)
        else:
            self._run(fix)

    def _run(self, fix: str) -> None:
        """The statements up to the comment; what stands before them is prose that ends with a colon."""
        statements, _, comment = fix.partition("; -- ")
        prose = re.match(r"[^:;\"']*: (?=[A-Z]+ )", statements)
        self.sql(*_STATEMENT.findall((statements[prose.end() if prose else 0 :] + ";").replace(";;", ";")))
        if comment.startswith("then restart the server"):
            self.server.restart()

    def _forbid(self, fix: str) -> None:
        rule = next(part for part in re.split(r": | \(", fix) if _HBA.match(part))
        file = self.server.data_dir / "pg_hba.conf"
        file.write_text(f"{rule}\n{file.read_text()}")
        self.sql("SELECT pg_reload_conf()")

    def events(self) -> list[dict[str, object]]:
        """What the file sink has, whole lines only."""
        return list(self._events())

    def _events(self) -> Iterator[dict[str, object]]:
        for path in sorted(self.out.rglob("*.jsonl*")):
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)


def url(server: PostgresServer, database: str, role: str, password: str = "") -> str:
    secret = f":{quote(password, safe='')}" if password else ""
    return f"postgresql://{quote(role, safe='')}{secret}@{server.host}:{server.port}/{quote(database, safe='')}"


def _versions() -> list[int]:
    """The oldest and the newest: between them lies all that the catalogs do differently. With TEST_ALL=1 every one."""
    present = postgres_versions()
    return [v for v in present if os.environ.get("TEST_ALL") == "1" or v in (present[0], present[-1])]


@pytest.fixture(params=_versions(), ids=lambda version: f"pg{version}", scope="session")
def version(request: pytest.FixtureRequest) -> int:
    chosen: int = request.param
    return chosen


@pytest.fixture(scope="session")
def _quiet_server(version: int) -> Iterator[PostgresServer]:
    with (
        required(),
        PostgresServer(version, {"max_slot_wal_keep_size": "1GB", "max_prepared_transactions": "2"}) as server,
    ):
        yield server


@pytest.fixture
def quiet_server(_quiet_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server whose settings are as they should be, with nothing on it; the test has it for itself."""
    hba = _quiet_server.data_dir / "pg_hba.conf"
    before = hba.read_text()
    yield _quiet_server
    hba.write_text(before)
    _empty(_quiet_server)


def _empty(server: PostgresServer) -> None:
    slots = "SELECT slot_name, coalesce(database, 'postgres'), active_pid FROM pg_replication_slots"
    for name, database, pid in server.execute(slots):
        if pid:
            server.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(partial(_is_free, server, name), 10.0, f"slot {name} is free")
        server.execute("SELECT pg_drop_replication_slot(%s)", [name], dbname=database)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        databases = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
        for (name,) in connection.execute(databases).fetchall():
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        roles = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'"
        for (name,) in connection.execute(roles).fetchall():
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        connection.execute("SELECT pg_reload_conf()")


def _is_free(server: PostgresServer, slot: str) -> bool:
    return not server.execute("SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = %s", [slot])
