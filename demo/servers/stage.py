"""What the demo and the tutorial stand on: a database with the shop's tables, and a broker with its topics."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from demo.servers.kafka import Broker
from demo.servers.postgres import Server, version_text
from demo.servers.scratch import Scratch
from demo.shop import SCHEMA, TABLES, create, furnish

NAME: Final = "shop"
DATABASE: Final = "shop"
PARTITIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Stage:
    server: Server
    broker: Broker
    password: str
    server_version: str

    def settings(self) -> dict[str, str]:
        """The connector's variables, but for the checkpoint's place."""
        return {
            "CDC_NAME": NAME,
            "CDC_SOURCE": self.server.url("cdc", DATABASE),
            "CDC_SOURCE_PASSWORD": self.password,
            "CDC_SINK": f"kafka://{self.broker.address}",
            "CDC_TABLES": f"{SCHEMA}.*",
            "CDC_KAFKA_CREATE_TOPICS": "true",
        }


@contextmanager
def set_up(scratch: Scratch) -> Iterator[Stage]:
    with Server(scratch) as server, Broker() as broker:
        password = secrets.token_urlsafe(16)
        with server.connect("postgres") as admin:
            create(admin, password)
        with server.connect(DATABASE) as admin:
            furnish(admin)
            version = version_text(admin)
        for topic in topics():
            broker.create_topic(topic, PARTITIONS)
        yield Stage(server, broker, password, version)


def topics() -> list[str]:
    """As the default template has them."""
    return [f"{NAME}.{SCHEMA}.{table}" for table in TABLES]
