"""Hurt everything at random for minutes, then judge: ``python -m tests.faults.soak --minutes 10 [--seed N] [--break SWITCH]``.

A real PostgreSQL, a real broker and the connector as a process of its own, under load. Each target has its own thread and its own
random numbers from the seed. It exits 1 on any violation, and also when it was too easy: under 200 changes a second, under 4 kills of
the connector a minute, or under one kill of broker and server every 2 minutes.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.faults.connector import ConnectorError
from tests.faults.scene import Scene, Writing
from tests.oracle.checker import Violation
from tests.servers import KafkaServer, PostgresServer, ServerError

LEAST_RATE = 200.0
LEAST_CONNECTOR_KILLS = 4.0  # a minute
LEAST_SERVER_KILLS = 0.5
RATE = 300.0
LARGE = 2500  # one step in so many is a large transaction
FIRST_AFTER = 5.0
SETTINGS = {
    "CDC_CHECKPOINT_INTERVAL": "0.5",
    "CDC_SHUTDOWN_TIMEOUT": "5",
    "CDC_POSTGRES_SENDER_TIMEOUT": "3",
}
SWITCHES = ("confirm-before-ack", "checkpoint-before-ack", "drop-one-row-after-rewind")


class Soak:
    """One run. `kills` counts by target and manner; `troubles` are violations that no record shows."""

    def __init__(self, stage: Scene, kafka: KafkaServer, seed: int, sabotage: str) -> None:
        self.stage = stage
        self.kafka = kafka
        self.sabotage = sabotage
        self.kills: Counter[str] = Counter()
        self.troubles: list[Violation] = []
        self.seed = seed
        self._over = threading.Event()

    def run(self, seconds: float) -> float:
        """Returns how many changes a second were committed."""
        stage = self.stage
        stage.begin(sabotage=self.sabotage)
        threads = [
            threading.Thread(target=self._loop, args=(name, *plan), name=name)
            for name, plan in {
                "connector": (self._hurt_connector, 3.0, 9.0),
                "broker": (self._hurt_broker, 25.0, 50.0),
                "server": (self._hurt_server, 30.0, 55.0),
                "walsender": (self._hurt_walsender, 3.0, 10.0),
            }.items()
        ]
        began = time.monotonic()
        with stage.sampling(0.1), Writing(stage.workload, rate=RATE, large=LARGE):
            for thread in threads:
                thread.start()
            self._over.wait(seconds)
            self._over.set()
            for thread in threads:
                thread.join()
        return stage.workload.history.count() / (time.monotonic() - began)

    def _loop(self, name: str, act: Callable[[random.Random], None], shortest: float, longest: float) -> None:
        """Wait, act, wait; the first time soon. What cannot be done at the moment is left out."""
        chance = random.Random(f"{self.seed} {name}")
        wait = chance.uniform(FIRST_AFTER, FIRST_AFTER + shortest)
        while not self._over.wait(wait):
            try:
                act(chance)
            except (ConnectorError, ServerError) as trouble:
                self.troubles.append(Violation("soak", f"{name}: {trouble}"))
                self._over.set()
                return
            wait = chance.uniform(shortest, longest)

    def _hurt_connector(self, chance: random.Random) -> None:
        connector = self.stage.connector
        if not connector.running:
            raise ConnectorError(f"it ended by itself with {connector.wait(1)}:\n{connector.log_tail()}")
        kind = chance.choices(("SIGKILL", "SIGTERM", "SIGSTOP"), (6, 2, 1))[0]
        if kind == "SIGSTOP":
            connector.stop()
            self._over.wait(chance.uniform(0.5, 5.0))
            connector.cont()
        else:
            if kind == "SIGKILL":
                connector.kill()
            elif (code := connector.term()) != 0:
                raise ConnectorError(f"it exited {code} on SIGTERM:\n{connector.log_tail()}")
            self._over.wait(chance.uniform(0.0, 1.0))
            connector.start(sabotage=self.sabotage)
        self.kills[f"connector {kind}"] += 1

    def _hurt_broker(self, chance: random.Random) -> None:
        kind = chance.choice(("SIGKILL", "SIGKILL", "SIGTERM"))
        if kind == "SIGKILL":
            self.kafka.kill9()
        else:
            self.kafka.stop()
        self._over.wait(chance.uniform(1.0, 6.0))
        self.kafka.start()
        self.kills[f"broker {kind}"] += 1

    def _hurt_server(self, chance: random.Random) -> None:
        """A fast shutdown waits for a walsender whose client may just be stopped; then it is a crash after all."""
        server, kind = self.stage.postgres, chance.choice(("SIGKILL", "SIGKILL", "SIGINT"))
        if kind == "SIGINT":
            try:
                server.stop("fast", 5)
            except ServerError:
                server.kill9()
        else:
            server.kill9()
        self._over.wait(chance.uniform(0.0, 2.0))
        server.start()
        self.kills[f"server {kind}"] += 1

    def _hurt_walsender(self, _: random.Random) -> None:
        with suppress(psycopg.Error):  # the server may be down, by another thread's hand
            self.stage.terminate_walsender()
            self.kills["walsender terminated"] += 1

    def killed(self, target: str, *kinds: str) -> int:
        return sum(
            count
            for name, count in self.kills.items()
            if name.startswith(target) and (not kinds or name.split()[1] in kinds)
        )

    def too_easy(self, rate: float, minutes: float) -> list[str]:
        found = []
        if rate < LEAST_RATE:
            found.append(f"only {rate:.0f} changes/s, at least {LEAST_RATE:.0f} are needed")
        for target, kinds, least in (
            ("connector", ("SIGKILL", "SIGTERM"), LEAST_CONNECTOR_KILLS),
            ("broker", (), LEAST_SERVER_KILLS),
            ("server", (), LEAST_SERVER_KILLS),
        ):
            if (count := self.killed(target, *kinds)) < least * minutes:
                found.append(f"only {count} kills of the {target} in {minutes:g} minutes")
        return found


def soak(minutes: float, seed: int, sabotage: str) -> int:
    print(
        f"soak: {minutes:g} minutes, seed {seed}" + (f", broken on purpose: {sabotage}" if sabotage else ""), flush=True
    )
    with tempfile.TemporaryDirectory(prefix="cdc-soak-") as folder, PostgresServer(18) as postgres:
        with KafkaServer() as kafka, Scene(Path(folder), postgres, kafka, seed=seed, settings=SETTINGS) as stage:
            run = Soak(stage, kafka, seed, sabotage)
            rate = run.run(minutes * 60)
            return _report(run, rate, minutes)


def _report(run: Soak, rate: float, minutes: float) -> int:
    stage = run.stage
    try:
        if not run.troubles:
            if not stage.connector.running:
                stage.connector.start(sabotage=run.sabotage)
            stage.caught_up(120)
            if (code := stage.connector.term()) != 0:
                run.troubles.append(Violation("soak", f"exit {code} on SIGTERM:\n{stage.connector.log_tail()}"))
    except ConnectorError as trouble:
        run.troubles.append(Violation("soak", str(trouble)))
    verdict = stage.judge()
    verdict.violations[:0] = run.troubles
    easy = [] if verdict.violations else run.too_easy(rate, minutes)
    for name, count in sorted(run.kills.items()):
        print(f"  {name}: {count}")
    print(f"  transactions that lost their server: {stage.workload.interrupted}")
    print(
        f"  changes committed: {stage.workload.history.count()} ({rate:.0f}/s), samples: {len(stage.sampler.samples)}"
    )
    print(f"seed {run.seed}: {verdict}")
    for why in easy:
        print(f"too easy: {why}")
    return 1 if verdict.violations or easy else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="soak", description="Random faults under load, then the oracle's verdict.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--break", dest="sabotage", choices=("", *SWITCHES), default="", help="must make it exit 1")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return soak(given.minutes, seed, given.sabotage)


if __name__ == "__main__":
    sys.exit(main())
