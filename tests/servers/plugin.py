"""The suite's fixtures for real servers.

One server of a kind serves the whole run: take a database or a topic of your own on it. A test that kills,
reconfigures or fills a server asks for a private one, which ends with the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.servers.catalogue import KAFKA, POSTGRES, postgres_versions
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.require import required, requirement


class StartPostgres(Protocol):
    """Starts a private server: ``postgres_server(version=13, max_slot_wal_keep_size="1MB")``."""

    def __call__(
        self,
        version: int | None = None,
        *,
        fresh_system_identifier: bool = False,
        initdb: Sequence[str] = (),
        seed: Path | None = None,
        **settings: str,
    ) -> PostgresServer: ...


class StartKafka(Protocol):
    """Starts a private broker: ``private_kafka({"message.max.bytes": "2000"}, proxied=True)``."""

    def __call__(self, settings: Mapping[str, str] | None = None, *, proxied: bool = False) -> KafkaServer: ...


def pytest_report_header() -> str:
    postgres = " ".join(POSTGRES[version].version for version in postgres_versions())
    missing = "an error" if requirement() == "all" else "a skip"
    return f"servers: PostgreSQL {postgres}, {KAFKA.title}; a missing one is {missing}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The newest version under test, one server for the whole run."""
    with required(), PostgresServer() as server:
        yield server


@pytest.fixture(scope="session", params=postgres_versions(), ids=lambda version: f"pg{version}")
def every_postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """The test runs once per version under test; each version's server serves the whole run."""
    with required(), PostgresServer(request.param) as server:
        yield server


@pytest.fixture
def postgres_server() -> Iterator[StartPostgres]:
    """A factory of private servers, which end with the test."""
    with ExitStack() as servers:

        def start(
            version: int | None = None,
            *,
            fresh_system_identifier: bool = False,
            initdb: Sequence[str] = (),
            seed: Path | None = None,
            **settings: str,
        ) -> PostgresServer:
            with required():
                server = PostgresServer(
                    version, settings, fresh_system_identifier=fresh_system_identifier, initdb=initdb, seed=seed
                )
                return servers.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """One broker for the whole run; create topics of names of your own on it."""
    with required(), KafkaServer() as server:
        yield server


@pytest.fixture
def private_kafka() -> Iterator[StartKafka]:
    """A factory of private brokers, which end with the test."""
    with ExitStack() as servers:

        def start(settings: Mapping[str, str] | None = None, *, proxied: bool = False) -> KafkaServer:
            with required():
                return servers.enter_context(KafkaServer(settings, proxied=proxied))

        yield start
