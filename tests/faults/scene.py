"""One test's stage: a database, a name, a sink, a connector, a writer, and the judge at the end."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson
import psycopg

from tests.faults.connector import Connector, wait_until
from tests.oracle.checker import Verdict, check, check_halted
from tests.oracle.history import History, Sample
from tests.oracle.reader import FileReader, KafkaReader, Reader, Sampler
from tests.oracle.workload import TABLES, Workload
from tests.servers import KafkaServer, PostgresServer, Proxy

PARTITIONS = 3
_NUMBERS = itertools.count(1)


class Scene:
    """Every scene has its own database, slot, topics and checkpoint; servers may be shared.

    `kafka` None: the file sink. `through`: the connector reaches PostgreSQL by this proxy; writer and judge do not.
    `limits`: the largest record, in bytes, of a table's topic.
    """

    def __init__(
        self,
        folder: Path,
        postgres: PostgresServer,
        kafka: KafkaServer | None = None,
        *,
        seed: int = 1,
        ddl: bool = True,
        through: Proxy | None = None,
        bootstrap: str = "",
        limits: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = f"s{os.getpid()}n{next(_NUMBERS)}"
        self.slot = self.publication = f"cdc_{self.name}"
        self.postgres = postgres
        self.kafka = kafka
        self.dsn = postgres.create_database(self.name)
        self.workload = Workload(self.dsn, seed, ddl=ddl)
        self.workload.prepare()
        self._stack = ExitStack()
        self.lines = folder / "lines"
        self.reader: Reader
        if kafka is None:
            sink = f"file://{self.lines}"
            self.reader = FileReader(self.lines, self.name)
        else:
            sink = f"kafka://{bootstrap or kafka.bootstrap}"
            self.reader = KafkaReader(kafka.bootstrap, self.name)
            for topic in (*TABLES, "message", "gap"):
                bytes = (limits or {}).get(topic)
                config = {"max.message.bytes": str(bytes)} if bytes else None
                kafka.create_topic(f"{self.name}.{topic}", 1 if topic == "gap" else PARTITIONS, config)
        parts = urlsplit(self.dsn)
        address = f"{through.host}:{through.port}" if through else f"{parts.hostname}:{parts.port}"
        self.settings = {
            "CDC_NAME": self.name,
            "CDC_SOURCE": f"postgresql://postgres@{address}/{self.name}",
            "CDC_SINK": sink,
            "CDC_TABLES": ",".join(TABLES),
            "CDC_CHECKPOINT": f"file://{folder / 'checkpoint'}",
            "CDC_CHECKPOINT_INTERVAL": "0.05",
            "CDC_LOG_FORMAT": "json",
            "CDC_POSTGRES_KEYLESS": "public.loose",
            "CDC_POSTGRES_STATUS_INTERVAL": "0.2",
            **(settings or {}),
        }
        self.connector = self._stack.enter_context(Connector(folder / "connector", self.settings))
        self.sampler = Sampler(self.dsn, self.slot, self.connector.checkpoint, self.reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self.workload.close()
        if self.postgres.running:
            self.drop_slot()  # a server has a bounded number of them, and each holds the log back

    def drop_slot(self) -> None:
        """With whoever reads it."""

        def free() -> bool:
            rows = self.query("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s AND active", self.slot)
            for (pid,) in rows:
                self.query("SELECT pg_terminate_backend(%s)", pid)
            return not rows

        wait_until(free, 30, "free to drop")
        self.query(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", self.slot
        )

    def query(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), params or None)
            return cursor.fetchall() if cursor.description else []

    # -- running -----------------------------------------------------------------------------------------------------------

    def begin(self, **start: str) -> None:
        """Start, and wait until it streams: what is written from now on must come out."""
        self.connector.start(**start)
        self.connector.wait_ready()

    def slot_row(self, column: str) -> Any:
        rows = self.query(f"SELECT {column} FROM pg_replication_slots WHERE slot_name = %s", self.slot)
        return rows[0][0] if rows else None

    def confirmed(self) -> int | None:
        found: int | None = self.slot_row("(confirmed_flush_lsn - '0/0')::bigint")
        return found

    def confirmed_all(self) -> bool:
        """Whether the server knows that what is committed now was confirmed."""
        rows = self.query(
            "SELECT confirmed_flush_lsn >= pg_current_wal_insert_lsn() FROM pg_replication_slots WHERE slot_name = %s",
            self.slot,
        )
        return bool(rows and rows[0][0])

    def terminate_walsender(self) -> None:
        """Cut the stream on the server's side."""
        (pid,) = (self.slot_row("active_pid"),)
        if pid is not None:
            self.query("SELECT pg_terminate_backend(%s)", pid)

    def caught_up(self, seconds: float = 60.0) -> None:
        """Wait until the server knows that all which is committed now was confirmed."""
        self.workload.settle()
        target = self.workload.end_of_log()
        self.connector.wait_until(lambda: (self.confirmed() or 0) >= target, seconds, f"confirmed up to {target:X}")

    def sampling(self, every: float = 0.05) -> Sampling:
        return Sampling(self.sampler, every)

    def finish(self, seconds: float = 60.0) -> Verdict:
        """Run to the end, stop in good order, judge."""
        self.caught_up(seconds)
        code = self.connector.term()
        assert code == 0, f"exit {code} on SIGTERM:\n{self.connector.log_tail()}"
        return self.judge()

    def judge(self, *, complete: bool = True) -> Verdict:
        return check(
            self.workload.history, self.reader.read(), self.workload.final(), self.sampler.samples, complete=complete
        )

    def judge_without(self, first: int, last: int) -> Verdict:
        """As `judge`, where the transactions from `first` to before `last` are in a gap that the operator has accepted."""
        known = self.workload.history
        history = History([*known.transactions[:first], *known.transactions[last:]], known.unsure)
        return check(history, self.reader.read(), {}, self.sampler.samples)

    def halts(self, code: int, *words: str, seconds: float = 30.0, **start: str) -> str:
        """Start; it must end by itself with that code, name those words in its last line, and have sent nothing (I9)."""
        before = self.reader.ends()
        known = len(self.connector.log_text())
        self.connector.start(**start)
        ended = self.connector.wait(seconds)
        told = self.connector.log_text()[known:]
        assert ended == code, f"exit {ended}:\n{told}"
        assert not check_halted(before, self.reader.ends())
        lines = [orjson.loads(line) for line in told.splitlines()]
        last = [line for line in lines if line["level"] == "error"][-1]
        for word in words:
            assert word in f"{last['event']} {last.get('fault')} {last.get('action')}", f"{word!r} is not in {last}"
        return str(last["event"])

    def passes(self, seconds: float = 60.0) -> Verdict:
        """`finish`, without a violation, and with a history that could have failed."""
        verdict = self.finish(seconds)
        assert not verdict.violations, f"seed {self.workload.seed}: {verdict}\n{self.connector.log_tail()}"
        assert verdict.events >= self.workload.history.count() > 0
        return verdict


class Sampling:
    """Samples in a thread while the block runs."""

    def __init__(self, sampler: Sampler, every: float) -> None:
        self._sampler = sampler
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> list[Sample]:
        self._thread.start()
        return self._sampler.samples

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._every):
            self._sampler.take()


class Writing:
    """The writer in a thread while the block runs, so that faults meet a log that moves."""

    def __init__(self, workload: Workload, rate: float | None = None, large: int = 0) -> None:
        self._workload = workload
        self._rate = rate
        self._large = large
        self._done = threading.Event()
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Callable[[int], None]:
        self._thread.start()
        return self.more

    def more(self, changes: int, seconds: float = 30.0) -> None:
        """Wait until so many more changes were committed."""
        target = self._workload.history.count() + changes
        wait_until(
            lambda: self._trouble or self._workload.history.count() >= target, seconds, f"{changes} changes written"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        if self._trouble is not None and error is None:
            raise self._trouble

    def _run(self) -> None:
        try:
            self._workload.run(until=self._done.is_set, rate=self._rate, large=self._large)
        except BaseException as trouble:  # noqa: BLE001 - it belongs to the test's thread
            self._trouble = trouble


def sent_more(stage: Scene) -> Callable[[], bool]:
    """Whether something has come out since this was made."""
    before = stage.reader.ends()
    return lambda: stage.reader.ends() != before
