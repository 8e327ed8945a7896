"""Real servers for the tests: the one package that installs, starts, breaks and ends them.

Nothing else in the suite knows where a server's program comes from. Each server is a context manager; fixtures for
the usual cases are in ``plugin``.
"""

from __future__ import annotations

from tests.servers.catalogue import postgres_versions
from tests.servers.install import UnavailableError, install_postgres
from tests.servers.kafka import ConsumedRecord, KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerError, free_port
from tests.servers.proxy import Proxy

__all__ = [
    "ConsumedRecord",
    "KafkaServer",
    "PostgresServer",
    "Proxy",
    "ServerError",
    "UnavailableError",
    "free_port",
    "install_postgres",
    "postgres_versions",
]
