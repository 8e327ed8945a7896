"""What the tests of this folder share: sinks that notice a lost broker soon, and topics of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cdc_kafka.settings import KafkaSettings
from cdc_kafka.sink import KafkaSink
from tests.conformance.driving import MEMORY, make_context

# A request that is not answered is given up after a second, not after a minute; nothing else is weaker than by default.
QUICK = {
    "socket_timeout_ms": "1000",
    "reconnect_backoff_ms": "50",
    "reconnect_backoff_max_ms": "200",
}


@contextmanager
def open_sink(
    bootstrap: str,
    *,
    tls: str | None = None,
    tls_ca: str = "",
    password: str | None = None,
    memory: int = MEMORY,
    **given: str,
) -> Iterator[KafkaSink]:
    settings = KafkaSettings.model_validate({**QUICK, **given})
    context = make_context(f"kafka://{bootstrap}", settings, tls=tls, tls_ca=tls_ca, password=password, memory=memory)
    sink = KafkaSink(context)
    sink.open()
    try:
        yield sink
    finally:
        sink.close()


def new_topic(label: str = "t") -> str:
    return f"{uuid.uuid4().hex[:8]}.{label}"
