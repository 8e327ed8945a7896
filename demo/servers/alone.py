"""The servers without the shop, for the tutorial: an empty database, a broker with the topics that are named."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from demo.interrupt import Interrupt
from demo.servers.kafka import Broker
from demo.servers.postgres import HOST, Server, installation
from demo.servers.scratch import Scratch

_FOREVER = 3600.0


def serve(file: Path, topics: Sequence[str], interrupt: Interrupt) -> int:
    """Until a signal comes. `file` tells a shell where they are, and is there as long as they are."""
    with Scratch() as scratch, Server(scratch) as server, Broker() as broker:
        for topic in topics:
            broker.create_topic(topic, partitions=2)
        try:
            _write_whole(file, _exports(server, broker))
            while not interrupt.asked:
                interrupt.sleep(_FOREVER)
        finally:
            interrupt.ending()
            file.unlink(missing_ok=True)
    return 0


def _exports(server: Server, broker: Broker) -> str:
    variables = {
        "PGHOST": HOST,
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.password,
        "BROKER": broker.address,
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    return "".join([*lines, f'export PATH={shlex.quote(str(installation() / "bin"))}:"$PATH"\n'])


def _write_whole(file: Path, text: str) -> None:
    """Who waits for the file must not see half of it; it holds a password."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)
    part.replace(file)
