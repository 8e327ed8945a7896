"""A connector on a database of its own: run in a thread of this process, fed with SQL, read as parsed records.

Everything is real (settings, source, encoder, pump, checkpoint file) but the sink, which keeps records in a list and can die at a
chosen one. Two promises are checked for every scenario, without asking: the same id always has the same content, in any replay, and
without a replay no id comes twice.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import orjson
import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from cdc.checkpoint.file import FileCheckpointStore
from cdc.cli.run import encoder_options
from cdc.encode.envelope import EnvelopeEncoder
from cdc.errors import CdcError, DeliveryGap, SinkOutage
from cdc.model.checkpoint import Checkpoint
from cdc.model.record import Record
from cdc.observe.logs import get_logger
from cdc.pipeline.pump import Pump, PumpOptions
from cdc.pipeline.report import Report
from cdc.pipeline.stop import StopFlag
from cdc.ports import Ticket
from cdc.settings import load_settings
from tests.integration.postgres.envelope_schema import validate
from tests.servers import PostgresServer, postgres_versions

PATIENCE = 20.0  # seconds until a condition that must come true is given up
MARKER = "CREATE SCHEMA marker; CREATE TABLE marker.seen (n int PRIMARY KEY)"
MARK = re.compile(rb'\{"before":null,"after":\{"n":(\d+)\},.*"schema":"marker"')
NEVER = "3600"  # a checkpoint interval: only the first checkpoint and the drain's are saved
ALWAYS = "0.001"

Versions = Callable[[Callable[..., None]], Callable[..., None]]
Row = Mapping[str, Any]
_numbers = count()


def on(*versions: int, since: int = 13, until: int = 99) -> pytest.MarkDecorator:
    """The servers of a scenario: `versions`, or the newest in range; with TEST_ALL=1 all that are in range."""
    present = [version for version in postgres_versions() if since <= version <= until]
    chosen = present if os.environ.get("TEST_ALL") == "1" else [v for v in versions or present[-1:] if v in present]
    return pytest.mark.parametrize("every_postgres", chosen, indirect=True, ids=lambda version: f"pg{version}")


def on_every_version() -> pytest.MarkDecorator:
    """For what the versions are known to do differently."""
    return on(*postgres_versions())


@dataclass(frozen=True)
class Seen:
    """One record as a consumer reads it. `value` is empty for a tombstone."""

    topic: str
    key: Row | None
    value: Row
    tombstone: bool
    headers: Mapping[str, str] = field(default_factory=dict)
    broadcast: bool = False
    ordering_key: bytes = b""

    @classmethod
    def of(cls, record: Record) -> Seen:
        return cls(
            record.topic,
            None if record.key is None else orjson.loads(record.key),
            {} if record.value is None else orjson.loads(record.value),
            record.value is None,
            {name: value.decode() for name, value in record.headers or []},
            record.broadcast,
            record.ordering_key,
        )

    @property
    def op(self) -> str:
        return "tombstone" if self.tombstone else str(self.value["op"])

    @property
    def id(self) -> str:
        return str(self.value["id"])

    @property
    def before(self) -> Row | None:
        return self._row("before")

    @property
    def after(self) -> Row | None:
        return self._row("after")

    @property
    def source(self) -> Row:
        found: Row = self.value["source"]
        return found

    @property
    def table(self) -> str:
        return f"{self.source['schema']}.{self.source['table']}"

    @property
    def version(self) -> int:
        return int(self.source["schema_version"])

    @property
    def unchanged(self) -> list[str]:
        return list(self.value.get("unchanged", []))

    def _row(self, name: str) -> Row | None:
        found: Row | None = self.value[name]
        return found


class Killed(BaseException):
    """What the sink raises where a test wants the connector to die: no handler of the connector's looks at it."""


class ListSink:
    """Implements `cdc.ports.Sink`. Takes what comes and acknowledges it at the next poll, until it is told to die."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.marks: set[int] = set()
        self.die_after: int | None = None
        self._owed: list[tuple[Ticket, int]] = []
        self.moved = threading.Condition()

    def open(self) -> None:
        self._owed.clear()

    def offer(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        taken = len(records) - start
        if self.die_after is not None:
            taken = min(taken, self.die_after)
            self.die_after -= taken
        with self.moved:
            self.records += records[start : start + taken]
            for record in records[start : start + taken]:
                if record.value is not None and (mark := MARK.match(record.value)):
                    self.marks.add(int(mark[1]))
            self.moved.notify_all()
        self._owed.append((ticket, taken))
        if self.die_after == 0:
            self.die_after = None
            raise Killed
        return taken

    def poll(self, timeout: float) -> None:
        for ticket, taken in self._owed:
            for _ in range(taken):
                ticket(None, None)
        self._owed.clear()

    def explain(self, error: Any, message: Any) -> CdcError:
        return DeliveryGap("nothing fails here")

    def purge(self, timeout: float) -> bool:
        self._owed.clear()
        return True

    def outage(self) -> SinkOutage | None:
        return None

    def flush(self, timeout: float) -> bool:
        self.poll(0.0)
        return True

    def close(self) -> None:
        self._owed.clear()


class Run(threading.Thread):
    """One life of the connector. `failure` is what ended it, None after a drain."""

    def __init__(self, variables: Mapping[str, str], sink: ListSink, batch_bytes: int) -> None:
        super().__init__(daemon=True, name=f"cdc {variables['CDC_NAME']}")
        settings = load_settings(None, variables)
        engine = settings.engine
        self.failure: BaseException | None = None
        self.streaming = threading.Event()
        self.stop = StopFlag()
        self.store = FileCheckpointStore(engine.checkpoint)
        self.report = Report(engine.name)
        self._pump = Pump(
            settings.source.open(),
            lambda layout: EnvelopeEncoder(encoder_options(settings), layout),
            sink,
            self.store,
            PumpOptions(
                engine.name,
                settings.digest,
                engine.checkpoint_interval,
                engine.retry_limit,
                engine.shutdown_timeout,
                batch_bytes,
            ),
            self.report,
            self.stop,
        )

    def run(self) -> None:
        try:
            self._pump.run()
        except BaseException as failure:  # noqa: BLE001 -- handed to the test
            self.failure = failure


class Stream:
    """One database, one slot, and the lives of one connector on it."""

    def __init__(self, server: PostgresServer, database: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.server = server
        self.database = database
        self.sink = ListSink()
        self.variables = {
            "CDC_NAME": "t",
            "CDC_SOURCE": server.dsn(database),
            "CDC_SINK": "null:",
            "CDC_TABLES": "public.*,marker.seen",
            "CDC_CHECKPOINT": f"file://{folder / 't.checkpoint'}",
            "CDC_CHECKPOINT_INTERVAL": ALWAYS,
            "CDC_POSTGRES_SLOT": database,
            "CDC_RETRY_LIMIT": "15",
            "CDC_POSTGRES_WATCH_INTERVAL": "1",
            **variables,
        }
        self.connection = psycopg.connect(server.dsn(database), autocommit=True, client_encoding="UTF8")
        self.logs: list[Any] = []
        self.batch_bytes = 1 << 18  # of the lives to come; 1 makes a batch of every message
        self._life: Run | None = None
        self._lives = 0
        self._marks = 0
        self._read = 0
        self._contents: dict[str, bytes] = {}
        self._checked = 0

    # -- the database ---------------------------------------------------------------------------------------------------

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Each statement in a transaction of its own; the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = self.connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows

    def transaction(self, *statements: str) -> None:
        """All statements in one transaction."""
        with self.connection.transaction():
            self.sql(*statements)

    def begin(self) -> psycopg.Connection[Any]:
        """Another session, for transactions that run beside each other."""
        return psycopg.connect(self.server.dsn(self.database), autocommit=True)

    def reconnect(self) -> None:
        """After the server was restarted."""
        self.connection = psycopg.connect(self.server.dsn(self.database), autocommit=True, client_encoding="UTF8")

    def published(self) -> set[str]:
        """Qualified names of the tables in the connector's publication, without the harness's own."""
        rows = self.sql("SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = 'cdc_t'")
        return {name for (name,) in rows} - {"marker.seen"}

    def await_published(self, table: str) -> None:
        self._until(lambda: table in self.published(), f"{table} is published")

    def await_looked(self) -> None:
        """Wait until the connector has looked at the server's tables: a new one has joined."""
        self.sql("CREATE TABLE newcomer (id int PRIMARY KEY)")
        self.await_published("public.newcomer")

    def await_logs(self, count: int, fault: str) -> None:
        """Wait until that many lines about a fault were logged."""
        self._until(lambda: len([line for line in self.logs if line.get("fault") == fault]) >= count, fault)

    # -- the connector's lives -------------------------------------------------------------------------------------------

    def start(self, **variables: str) -> None:
        """Begin a life; returns when it streams. `variables` are kept for the lives that follow."""
        self.launch(**variables)
        self._until(lambda: self._life is None or self._streams(), "the connector streams")

    def launch(self, **variables: str) -> None:
        """Begin a life and do not wait for it."""
        assert self._life is None, "one life at a time"
        self.variables |= variables
        self._until(self._slot_is_free, "the slot is free")
        self._life = Run(self.variables, self.sink, self.batch_bytes)
        self._lives += 1
        self._life.start()

    def stop(self) -> Checkpoint:
        """Drain and end, as on SIGTERM; the checkpoint that was left."""
        life = self._living()
        life.stop.request()
        self._mark()  # wakes the reader
        self._join(life)
        assert life.failure is None, f"ended by {life.failure!r}"
        return self.checkpoint()

    def restart(self, **variables: str) -> None:
        self.stop()
        self.start(**variables)

    def die_after(self, records: int) -> None:
        """The connector will die when the sink has taken so many more records; nothing is saved on the way."""
        self.sink.die_after = records

    def await_death(self) -> None:
        """Wait for the death that `die_after` ordered."""
        failure = self.halted()
        assert isinstance(failure, Killed), f"ended by {failure!r}"

    def halted(self) -> BaseException | None:
        """Wait until the connector has ended by itself; what ended it."""
        life = self._living()
        self._join(life)
        return life.failure

    def checkpoint(self) -> Checkpoint:
        found = FileCheckpointStore(self.variables["CDC_CHECKPOINT"].removeprefix("file://")).load()
        assert found is not None
        return found

    @property
    def health(self) -> Any:
        return self._living().report.health.snapshot

    # -- what came out ---------------------------------------------------------------------------------------------------

    def read(self) -> list[Seen]:
        """All records since the last read, up to what is committed now, without the harness's own."""
        number = self._mark()
        self._until(lambda: number in self.sink.marks, f"marker {number} comes through")
        return self.taken()

    def taken(self) -> list[Seen]:
        """What the sink has taken since the last read; waits for nothing."""
        with self.sink.moved:
            fresh, self._read = self.sink.records[self._read :], len(self.sink.records)
        self._check(fresh)
        return [seen for seen in map(Seen.of, fresh) if seen.tombstone or not _is_marker(seen)]

    def changes(self) -> list[Seen]:
        """`read` without tombstones."""
        return [seen for seen in self.read() if not seen.tombstone]

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _check(self, fresh: Sequence[Record]) -> None:
        """I6: one id, one content; and every envelope is as its schema says."""
        for record in fresh:
            if record.value is None:
                continue
            value = orjson.loads(record.value)
            validate(value)
            lasting = orjson.dumps({name: part for name, part in value.items() if not name.startswith("ts_")})
            known = self._contents.setdefault(value["id"], lasting)
            assert known == lasting, f"one id, two contents:\n{known!r}\n{lasting!r}"
            self._checked += 1
        assert self._lives > 1 or len(self._contents) == self._checked, "an id came twice without a replay"

    def _mark(self) -> int:
        self._marks += 1
        self.connection.execute("INSERT INTO marker.seen VALUES (%s)", (self._marks,))
        return self._marks

    def _streams(self) -> bool:
        return self._living().report.health.snapshot.state == "streaming"

    def _living(self) -> Run:
        assert self._life is not None, "the connector does not run"
        return self._life

    def _join(self, life: Run) -> None:
        life.join(PATIENCE)
        assert not life.is_alive(), "the connector does not end"
        self._life = None

    def _slot_is_free(self) -> bool:
        return not self.server.execute(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active", [self.variables["CDC_POSTGRES_SLOT"]]
        )

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        with self.sink.moved:
            while not condition():
                if self._life is not None and not self._life.is_alive():
                    failure = self._life.failure
                    self._life = None
                    raise AssertionError(f"the connector ended before {what}: {failure!r}") from failure
                assert time.monotonic() < end, f"{PATIENCE:g} s passed before {what}; the log ends so: {self.logs[-5:]}"
                self.sink.moved.wait(0.01)

    def close(self) -> None:
        """End the connector however it stands, drop the slot and the database."""
        if (life := self._life) is not None:
            self.sink.die_after = 0
            life.stop.request()
            life.stop.request()
            self._mark()
            self._join(life)
        if not self.connection.closed:
            self.connection.close()
        self._until(self._slot_is_free, "the slot is free")
        slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
        self.server.execute(slots, [self.database])
        self.server.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')


def _is_marker(seen: Seen) -> bool:
    source = seen.value.get("source")
    return source is not None and source["schema"] == "marker"


class OpenCapture(Protocol):
    """Makes a database with `setup` and, unless `started` is False, a connector that streams from it.

    `database` is what CREATE DATABASE is told besides the name, `server` another one than the test's. Variables are the
    connector's: `CDC_TOMBSTONES="false"`.
    """

    def __call__(
        self,
        *setup: str,
        started: bool = True,
        database: str = "",
        server: PostgresServer | None = None,
        **variables: str,
    ) -> Stream: ...


@pytest.fixture
def capture(every_postgres: PostgresServer, tmp_path: Path) -> Iterator[OpenCapture]:
    """A factory of streams, which end with the test together with their databases and slots."""
    with ExitStack() as streams:

        def open_capture(
            *setup: str,
            started: bool = True,
            database: str = "",
            server: PostgresServer | None = None,
            **variables: str,
        ) -> Stream:
            server = server or every_postgres
            name = f"cdc_{os.getpid()}_{next(_numbers)}"
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)).as_string(connection)
                connection.execute(f"{statement} {database}".encode())
            folder = tmp_path / name
            folder.mkdir()
            stream = Stream(server, name, folder, variables)
            streams.callback(stream.close)
            get_logger()  # or its first use would put an end to the capturing of logs
            stream.logs = streams.enter_context(capture_logs())
            stream.sql(MARKER, *setup)
            if started:
                stream.start()
            return stream

        yield open_capture
