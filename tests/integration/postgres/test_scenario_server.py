"""What the server itself does to us: it drops the publication, forgets a slot, comes back from a backup, sends more than memory holds."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cdc.errors import PositionLost
from tests.faults.connector import Connector
from tests.integration.postgres.stream import OpenCapture, on
from tests.servers.plugin import StartPostgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, a text)"


@on(17, 18)
def test_P21_a_publication_dropped_under_way_is_told_and_never_passed_over(capture: OpenCapture) -> None:
    """On 18 the stream would go on without a row and without an error."""
    stream = capture(TABLE)
    stream.sql("INSERT INTO t VALUES (1)")
    assert [s.op for s in stream.read()] == ["c"]
    stream.sql("DROP PUBLICATION cdc_t")
    stream.await_logs(1, "publication-missing")
    assert not stream.health.ready
    stream.sql("INSERT INTO t VALUES (2)", "CREATE PUBLICATION cdc_t FOR TABLE t, marker.seen")
    failure = stream.halted()
    assert isinstance(failure, PositionLost)
    assert failure.fault == "publication-recreated"
    assert stream.taken() == []


@pytest.mark.parametrize("every_postgres", [18], indirect=True, ids=["pg18"])
def test_P02_a_slot_that_was_idle_for_too_long(postgres_server: StartPostgres, capture: OpenCapture) -> None:
    server = postgres_server(18, idle_replication_slot_timeout="1s")
    stream = capture(TABLE, server=server)
    stream.sql("INSERT INTO t VALUES (1)")
    assert [s.op for s in stream.read()] == ["c"]
    stream.stop()
    query = f"SELECT invalidation_reason FROM pg_replication_slots WHERE slot_name = '{stream.database}'"
    end = time.monotonic() + 20
    while stream.sql(query) != [("idle_timeout",)]:
        assert time.monotonic() < end, "the server keeps the slot"
        time.sleep(0.5)
        stream.sql("INSERT INTO t SELECT max(id) + 1 FROM t", "SELECT pg_switch_wal()", "CHECKPOINT")
    stream.launch()
    failure = stream.halted()
    assert isinstance(failure, PositionLost)
    assert failure.fault == "slot-invalidated"
    assert "idle_timeout" in str(failure)
    assert stream.taken() == []


@on()
def test_P49_a_server_restored_from_a_backup(
    postgres_server: StartPostgres, capture: OpenCapture, tmp_path: Path
) -> None:
    """The same cluster by its identifier, and its log ends before our position."""
    server = postgres_server()
    stream = capture(TABLE, server=server)
    stream.sql("INSERT INTO t VALUES (1)")
    stream.read()
    stream.stop()
    stream.connection.close()
    server.stop()
    backup = tmp_path / "backup"
    shutil.copytree(server.data_dir, backup)
    server.start()
    stream.reconnect()
    stream.start()
    stream.sql("INSERT INTO t SELECT n FROM generate_series(2, 2000) n")
    stream.read()
    stream.stop()
    restored = postgres_server(seed=backup)
    stream.launch(CDC_SOURCE=restored.dsn(stream.database))
    failure = stream.halted()
    assert isinstance(failure, PositionLost)
    assert failure.fault == "server-went-back"
    assert stream.taken() == []


def highest_memory(pid: int) -> int:
    """Bytes; the most that the process has had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.slow
@on()
@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 150000) n", 150_000),
        ("INSERT INTO t SELECT n, repeat(md5(n::text), 156250) FROM generate_series(1, 30) n", 30),
    ],
    ids=["P27_many_rows", "X7_large_rows"],
)
def test_P27_X07_memory_does_not_grow_with_a_transaction(
    capture: OpenCapture, tmp_path: Path, statement: str, rows: int
) -> None:
    """Twenty megabytes of log in small rows, many times that as objects, and 150 in large rows: either would show."""
    stream = capture(TABLE, started=False, CDC_MEMORY="8MiB")
    out = tmp_path / "out"
    out.mkdir()
    with TemporaryDirectory(prefix="cdc-") as short:
        variables = {**stream.variables, "CDC_SINK": f"file://{out}", "CDC_CHECKPOINT": f"file://{short}/checkpoint"}
        with Connector(tmp_path / "child", variables) as child:
            child.start()
            child.wait_ready()
            stream.sql("INSERT INTO t VALUES (0, 'warm')")
            child.wait_until(lambda: any(file.stat().st_size for file in out.iterdir()), what="the first row")
            assert child.pid is not None
            before = highest_memory(child.pid)
            stream.sql(statement, "INSERT INTO t VALUES (-1, 'last')")
            child.wait_until(lambda: ends_with_last(out), 120, what="the last row")
            grown = highest_memory(child.pid) - before
            assert child.term() == 0
    assert grown < 64 << 20, f"{grown >> 20} MiB more for {rows} rows"


def ends_with_last(folder: Path) -> bool:
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
    with files[-1].open("rb") as file:
        file.seek(max(0, files[-1].stat().st_size - 4096))
        return b'"id":-1' in file.read()
