"""An imitation of a Kafka cluster inside this process: librdkafka's own, for its tests.

It keeps a few megabytes of each partition in memory and knows no admin requests but metadata, so topics are made through
its own interface. Its metadata names broker 0 as the controller, which it has not (ids count from 1): one is added, or
clients that ask the controller about topics would wait for ever.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Final, Self

from confluent_kafka import cimpl

from demo.servers.child import DemoError

_PRODUCER: Final = 0  # rd_kafka_type_t
_CONTROLLER: Final = 0
_TEXT_SIZE: Final = 512
_HANDLE: Final = ctypes.c_void_p


def _library() -> ctypes.CDLL:
    """librdkafka as the extension module has loaded it: a look-up in a module covers what it depends on."""
    library = ctypes.CDLL(cimpl.__file__)
    text, number = ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[object, list[object]]] = {
        "rd_kafka_conf_new": (_HANDLE, []),
        "rd_kafka_conf_set": (number, [_HANDLE, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (_HANDLE, [number, _HANDLE, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [_HANDLE]),
        "rd_kafka_mock_cluster_new": (_HANDLE, [_HANDLE, number]),
        "rd_kafka_mock_cluster_destroy": (None, [_HANDLE]),
        "rd_kafka_mock_broker_add": (number, [_HANDLE, ctypes.c_int32]),
        "rd_kafka_mock_cluster_bootstraps": (text, [_HANDLE]),
        "rd_kafka_mock_topic_create": (number, [_HANDLE, text, number, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Broker:
    """A context manager; `address` is host:port for any client on this machine."""

    def __init__(self) -> None:
        self._library = _library()
        self._client = self._new_client()
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster or self._library.rd_kafka_mock_broker_add(self._cluster, _CONTROLLER):
            raise DemoError("librdkafka's mock cluster could not be started")
        bootstraps = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        self.address: str = bootstraps.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        if self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1):
            raise DemoError(f"the topic {name} could not be made")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def _new_client(self) -> int:
        conf = self._library.rd_kafka_conf_new()
        text = ctypes.create_string_buffer(_TEXT_SIZE)
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", text, _TEXT_SIZE)
        client: int | None = self._library.rd_kafka_new(_PRODUCER, conf, text, _TEXT_SIZE)
        if not client:
            raise DemoError(f"librdkafka could not be started: {text.value.decode()}")
        return client
