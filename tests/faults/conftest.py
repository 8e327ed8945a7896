"""Scenes for fault tests: on the shared servers, or on private ones where a test hurts the server itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.faults.scene import Scene
from tests.servers import KafkaServer, PostgresServer, Proxy
from tests.servers.require import required


class MakeScene(Protocol):
    """Makes a scene that ends with the test. `kafka` False: the file sink. `settings` are the connector's variables."""

    def __call__(
        self,
        *,
        postgres: PostgresServer | None = None,
        kafka: KafkaServer | bool = True,
        seed: int = 1,
        ddl: bool = True,
        through: Proxy | None = None,
        bootstrap: str = "",
        limits: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Scene: ...


@pytest.fixture(scope="session")
def newest() -> Iterator[PostgresServer]:
    """PostgreSQL 18 for the fault tests, apart from the one of other tests: scenes end sessions and slots on it."""
    with required(), PostgresServer(18, {"max_replication_slots": "60", "max_wal_senders": "60"}) as server:
        yield server


@pytest.fixture
def scene(newest: PostgresServer, kafka: KafkaServer, tmp_path: Path) -> Iterator[MakeScene]:
    with ExitStack() as scenes:
        count = 0

        def make(
            *,
            postgres: PostgresServer | None = None,
            kafka: KafkaServer | bool = True,
            seed: int = 1,
            ddl: bool = True,
            through: Proxy | None = None,
            bootstrap: str = "",
            limits: Mapping[str, int] | None = None,
            settings: Mapping[str, str] | None = None,
        ) -> Scene:
            nonlocal count
            count += 1
            broker = shared if kafka is True else kafka or None
            return scenes.enter_context(
                Scene(
                    tmp_path / str(count),
                    postgres or newest,
                    broker,
                    seed=seed,
                    ddl=ddl,
                    through=through,
                    bootstrap=bootstrap,
                    limits=limits,
                    settings=settings,
                )
            )

        shared = kafka
        yield make
