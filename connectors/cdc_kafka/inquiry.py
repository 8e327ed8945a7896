"""Questions to the broker, each of which waits for its answer: asked before a start, and by a thread beside the sink.

Existence and partitions come from Kafka's Metadata request, which any broker answers. Settings and permissions are a courtesy
of the controller: where it does not answer soon, or will not tell us, we go without and heed what the broker says to records.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its annotations forget to export them
    AclOperation,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from cdc_kafka.faults import error_in
from cdc_kafka.settings import KafkaSettings

ANSWER_SECONDS: Final = 5.0
_COURTESY_SECONDS: Final = 1.0
_COURTESY_AGAIN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """About one topic. With `error` nothing else is known; without partitions it is just being made.

    `config` is empty and `writable` None where the broker does not tell.
    """

    error: KafkaError | None = None
    partitions: int = 0
    replicas: int = 0
    config: dict[str, str] = field(default_factory=dict)
    writable: bool | None = None


class Inquiry:
    """Raises `KafkaException` where no broker answers."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self._no_courtesy_before = 0.0

    def cluster(self, seconds: float | None = None) -> tuple[str, int]:
        """The cluster's id, and how many brokers it has."""
        metadata = self._admin.list_topics(timeout=seconds or ANSWER_SECONDS)
        return metadata.cluster_id or "", len(metadata.brokers)

    def topics(self, names: Iterable[str]) -> dict[str, Answer]:
        metadata = {name: self._admin.list_topics(name, timeout=ANSWER_SECONDS).topics.get(name) for name in names}
        there = [name for name, topic in metadata.items() if topic is not None and topic.error is None]
        config, writable = self._courtesies(there)
        return {name: _answer(topic, config.get(name, {}), writable.get(name)) for name, topic in metadata.items()}

    def create(self, names: Iterable[str], settings: KafkaSettings) -> dict[str, KafkaError | None]:
        """Each topic with the reason why it was not created. One that is there already was."""
        topics = [NewTopic(name, settings.partitions or -1, settings.replication or -1) for name in names]
        futures = self._admin.create_topics(topics, request_timeout=ANSWER_SECONDS)
        errors = {name: _error(future) for name, future in futures.items()}
        there = KafkaError.TOPIC_ALREADY_EXISTS
        return {name: None if error and error.code() == there else error for name, error in errors.items()}

    def _courtesies(self, names: list[str]) -> tuple[dict[str, dict[str, str]], dict[str, bool | None]]:
        if not names or time.monotonic() < self._no_courtesy_before:
            return {}, {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        configs = self._admin.describe_configs(resources, request_timeout=_COURTESY_SECONDS)
        topics = self._admin.describe_topics(
            TopicCollection(names), include_authorized_operations=True, request_timeout=_COURTESY_SECONDS
        )
        errors = [_error(future) for future in (*configs.values(), *topics.values())]
        if any(error and error.code() == KafkaError._TIMED_OUT for error in errors):
            self._no_courtesy_before = time.monotonic() + _COURTESY_AGAIN_SECONDS
        return {resource.name: _config(future) for resource, future in configs.items()}, {
            name: _writable(future) for name, future in topics.items()
        }


def _answer(topic: Any, config: dict[str, str], writable: bool | None) -> Answer:
    """`topic` is confluent-kafka's TopicMetadata; None where the broker did not mention it."""
    if topic is None:
        return Answer(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    if topic.error is not None and topic.error.code() != KafkaError.LEADER_NOT_AVAILABLE:
        return Answer(topic.error)
    partitions = list(topic.partitions.values())
    if any(partition.leader < 0 for partition in partitions):
        return Answer()
    replicas = min((len(partition.replicas) for partition in partitions), default=0)
    return Answer(None, len(partitions), replicas, config, writable)


def _error(future: Future[Any]) -> KafkaError | None:
    """Why it failed; waits for it. The request's own time limit ends the wait."""
    problem = future.exception()
    if problem is None:
        return None
    error = error_in(problem) if isinstance(problem, KafkaException) else None
    return error or KafkaError(KafkaError._FAIL, type(problem).__name__)


def _config(future: Future[Any]) -> dict[str, str]:
    if future.exception() is not None:
        return {}
    return {name: entry.value or "" for name, entry in future.result().items()}


def _writable(future: Future[Any]) -> bool | None:
    operations = None if future.exception() else future.result().authorized_operations
    return bool({AclOperation.WRITE, AclOperation.ALL} & set(operations)) if operations else None
