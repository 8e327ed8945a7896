"""Each sink with the means to read back what it delivered."""

from __future__ import annotations

import json
import os
import threading
import uuid
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cdc.model.record import Record
from cdc.ports import Sink
from cdc_files.file_sink import FileSink
from cdc_files.settings import FilesSettings
from cdc_files.stdout_sink import StdoutSink
from cdc_kafka.settings import KafkaSettings
from cdc_kafka.sink import KafkaSink
from cdc_null.connector import NullSettings
from cdc_null.sink import NullSink
from tests.conformance.driving import MEMORY, make_context
from tests.servers.kafka import KafkaServer


@dataclass(frozen=True)
class Delivered:
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Rig(Protocol):
    """`topic` names a topic of this test's own. `read` gives what is there of it, in order for each key."""

    reads_back: bool

    def topic(self, label: str = "t") -> str: ...

    def open(self, memory: int = MEMORY) -> Sink: ...

    def read(self, topic: str) -> list[Delivered]: ...

    def stall(self) -> None: ...

    def go_on(self) -> None: ...

    def crash(self) -> None: ...

    def close(self) -> None: ...


class KafkaRig:
    reads_back = True

    def __init__(self, server: KafkaServer) -> None:
        self._server = server
        self._prefix = uuid.uuid4().hex[:8]
        self._sinks: list[Sink] = []

    def topic(self, label: str = "t") -> str:
        return f"{self._prefix}.{label}"

    def open(self, memory: int = MEMORY) -> Sink:
        settings = KafkaSettings.model_validate(
            {"create_topics": True, "partitions": 3, "reconnect_backoff_max_ms": "200"}
        )
        sink = KafkaSink(make_context(f"kafka://{self._server.bootstrap}", settings, memory=memory))
        sink.open()
        self._sinks.append(sink)
        return sink

    def read(self, topic: str) -> list[Delivered]:
        return [Delivered(r.key, r.value, r.headers) for r in self._server.read_all(topic)]

    def stall(self) -> None:
        self._server.pause()

    def go_on(self) -> None:
        self._server.resume()

    def crash(self) -> None:
        """The broker dies and comes back on its data."""
        self._server.kill9()
        self._server.start()

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


class FileRig:
    reads_back = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "out"
        self._sinks: list[Sink] = []

    def topic(self, label: str = "t") -> str:
        return f"shop.public.{label}"

    def open(self, memory: int = MEMORY) -> Sink:
        settings = FilesSettings(rotate_bytes=100_000)
        sink = FileSink(make_context(self._folder.as_uri(), settings, memory=memory))
        sink.open()
        self._sinks.append(sink)
        return sink

    def read(self, topic: str) -> list[Delivered]:
        files = sorted(self._folder.glob("shop-*.jsonl"))
        return _of_topic(topic, (line for file in files for line in file.read_bytes().splitlines()))

    def stall(self) -> None: ...

    def go_on(self) -> None: ...

    def crash(self) -> None:
        """We die: nothing but what is in the files is left."""

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


class StdoutRig:
    """A pipe with a reader in a thread, which can be told to stop reading."""

    reads_back = True

    def __init__(self) -> None:
        self._source, self._target = os.pipe()
        self._received = bytearray()
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self._sinks: list[Sink] = []

    def topic(self, label: str = "t") -> str:
        return f"shop.public.{label}"

    def open(self, memory: int = MEMORY) -> Sink:
        sink = StdoutSink(make_context("stdout:", FilesSettings(), memory=memory), self._target)
        sink.open()
        self._sinks.append(sink)
        return sink

    def _read(self) -> None:
        while True:
            self._reading.wait()
            if not (data := os.read(self._source, 65536)):
                return
            self._received += data

    def read(self, topic: str) -> list[Delivered]:
        self._end()
        return _of_topic(topic, bytes(self._received).splitlines())

    def stall(self) -> None:
        self._reading.clear()

    def go_on(self) -> None:
        self._reading.set()

    def crash(self) -> None: ...

    def _end(self) -> None:
        for sink in self._sinks:
            sink.close()
        self._sinks.clear()
        if self._target >= 0:
            os.close(self._target)
            self._target = -1
        self._reading.set()
        self._thread.join(10)

    def close(self) -> None:
        self._end()
        os.close(self._source)


class NullRig:
    reads_back = False

    def __init__(self) -> None:
        self._sinks: list[Sink] = []

    def topic(self, label: str = "t") -> str:
        return f"shop.public.{label}"

    def open(self, memory: int = MEMORY) -> Sink:
        sink = NullSink(make_context("null:", NullSettings(), memory=memory))
        sink.open()
        self._sinks.append(sink)
        return sink

    def read(self, topic: str) -> list[Delivered]:
        raise NotImplementedError

    def stall(self) -> None: ...

    def go_on(self) -> None: ...

    def crash(self) -> None: ...

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


def expected(records: Iterable[Record]) -> list[Delivered]:
    return [Delivered(r.key, r.value, tuple(r.headers or ())) for r in records]


def by_key(delivered: Iterable[Delivered]) -> dict[bytes | None, list[Delivered]]:
    found: dict[bytes | None, list[Delivered]] = {}
    for each in delivered:
        found.setdefault(each.key, []).append(each)
    return found


def _of_topic(topic: str, lines: Iterable[bytes]) -> list[Delivered]:
    documents = [json.loads(line) for line in lines]
    return [
        Delivered(_bytes(each, "key"), _bytes(each, "value"), _headers(each))
        for each in documents
        if each["topic"] == topic
    ]


def _bytes(document: dict[str, Any], name: str) -> bytes | None:
    if (encoded := document.get(f"{name}_base64")) is not None:
        return b64decode(encoded)
    value = document[name]
    return None if value is None else json.dumps(value, separators=(",", ":")).encode()


def _headers(document: dict[str, Any]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple(
        (name, b64decode(value["base64"]) if isinstance(value, dict) else value.encode())
        for name, value in document.get("headers", ())
    )
