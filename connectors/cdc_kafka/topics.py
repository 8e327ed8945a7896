"""What is known about topics: whether they are there, how many partitions they have, how large a record they take.

Asked for in the background, so that the sink never waits: `ready` holds what may be produced to; for the rest `turn` carries
questions and answers, and `outage` says why a topic is not ready. A topic that is missing is asked for again each second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its annotations forget to export them
    AclOperation,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from cdc.errors import SinkOutage
from cdc.model.finding import Fault
from cdc.observe.logs import get_logger
from cdc_kafka.faults import TOPIC_DENIED, TOPIC_MISSING, error_in, fault_of
from cdc_kafka.settings import KafkaSettings

UNLIMITED: Final = 1 << 62
_ANSWER_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 1.0
_SOON_SECONDS: Final = 0.05
_REFRESH_SECONDS: Final = 30.0
_MOST_AT_ONCE: Final = 500
_ROOM_FOR_REST: Final = 4096  # key, headers and frame


class Topic:
    """One that can be produced to. `limit` is its max.message.bytes, `UNLIMITED` where we may not read it.

    A value of up to `room` bytes needs no closer look at the record's size.
    """

    __slots__ = ("compacted", "limit", "name", "partitions", "room")

    def __init__(self, name: str, partitions: int, limit: int, compacted: bool) -> None:
        self.name = name
        self.partitions = partitions
        self.limit = limit
        self.room = limit - _ROOM_FOR_REST
        self.compacted = compacted


class _Question:
    """Futures under way, all of one kind."""

    def __init__(self, kind: str, futures: dict[str, Future[Any]], configs: dict[str, Future[Any]]) -> None:
        self.kind = kind
        self.futures = futures
        self.configs = configs

    def answered(self) -> bool:
        return all(future.done() for future in (*self.futures.values(), *self.configs.values()))


class Topics:
    def __init__(self, admin: AdminClient, settings: KafkaSettings, heard: Callable[[KafkaError | None], None]) -> None:
        self.ready: dict[str, Topic] = {}
        self._trouble: dict[str, SinkOutage] = {}
        self._admin = admin
        self._settings = settings
        self._heard = heard  # told of each answer: None for one that the broker gave, else why there was none
        self._wanted: dict[str, None] = {}
        self._missing: dict[str, None] = {}
        self._held: dict[str, tuple[float, SinkOutage]] = {}
        self._question: _Question | None = None
        self._not_before = 0.0
        self._refresh_at = time.monotonic() + _REFRESH_SECONDS
        self._log = get_logger(sink="kafka")

    def want(self, names: Iterable[str]) -> None:
        """Find out about these; they become `ready`, or there will be an outage."""
        self._wanted.update((name, None) for name in names if name not in self.ready)

    def asking(self) -> bool:
        return self._question is not None

    def smallest_limit(self) -> int:
        return min((topic.limit for topic in self.ready.values()), default=UNLIMITED)

    def outage(self) -> SinkOutage | None:
        """The trouble of one topic that records wait for, and how many more have some."""
        now = time.monotonic()
        held = {name: outage for name, (until, outage) in self._held.items() if now < until or name in self._wanted}
        trouble = {**held, **self._trouble}
        if len(trouble) < 2:
            return next(iter(trouble.values()), None)
        first = next(iter(trouble.values()))
        return SinkOutage(f"{first} (and {len(trouble) - 1} more topics)", fault=first.fault, action=first.action)

    def forget(self) -> None:
        """After a gap: what was known may be why. Answers under way are dropped with it; what is held stays so."""
        self.ready.clear()
        self._trouble.clear()
        self._wanted.clear()
        self._missing.clear()
        self._question = None
        self._not_before = 0.0

    def hold(self, name: str, outage: SinkOutage, seconds: float) -> None:
        """The broker refused records to it, though it looked ready: not again before some time."""
        self.ready.pop(name, None)
        self._held[name] = (time.monotonic() + seconds, outage)

    def turn(self, probe: bool = False) -> bool:
        """Take answers that came, ask what is due. Says whether there were answers.

        With `probe` something is asked each second: does anybody answer?
        """
        question = self._question
        if question is not None:
            if not question.answered():
                return False
            self._question = None
            self._take(question)
        now = time.monotonic()
        if now >= self._not_before:
            self._ask_what_is_due(now, probe)
        return question is not None

    def _ask_what_is_due(self, now: float, probe: bool) -> None:
        if self._missing:
            self._create()
        elif self._wanted:
            self._describe_wanted(now)
        elif probe or now >= self._refresh_at:
            self._refresh(now)

    def _describe_wanted(self, now: float) -> None:
        due = [name for name in self._wanted if now >= self._held.get(name, (0.0, None))[0]]
        names = due[:_MOST_AT_ONCE]
        for name in names:  # to the end of the line: those that stay in trouble must not keep others waiting
            self._wanted[name] = self._wanted.pop(name)
        if names:
            self._describe(names)

    def _refresh(self, now: float) -> None:
        self._refresh_at = now + _REFRESH_SECONDS
        self._not_before = now + _AGAIN_SECONDS
        if self.ready:
            self._describe([*self.ready][:_MOST_AT_ONCE])
        else:
            self._ask("probe", {"": self._admin.describe_cluster(request_timeout=_ANSWER_SECONDS)}, {})

    def _describe(self, names: list[str]) -> None:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = self._admin.describe_topics(
            TopicCollection(names), include_authorized_operations=True, request_timeout=_ANSWER_SECONDS
        )
        configs = self._admin.describe_configs(resources, request_timeout=_ANSWER_SECONDS)
        self._ask("describe", futures, {resource.name: future for resource, future in configs.items()})

    def _create(self) -> None:
        names, self._missing = [*self._missing], {}
        settings = self._settings
        topics = [NewTopic(name, settings.partitions or -1, settings.replication or -1) for name in names]
        self._ask("create", self._admin.create_topics(topics, request_timeout=_ANSWER_SECONDS), {})

    def _ask(self, kind: str, futures: dict[str, Future[Any]], configs: dict[str, Future[Any]]) -> None:
        self._question = _Question(kind, futures, configs)
        self._admin.poll(0)  # its log lines wait in a queue

    def _take(self, question: _Question) -> None:
        heard: KafkaError | None = None
        for name, future in question.futures.items():
            error = _error(future)
            if error is not None and error.code() in _NO_ANSWER:
                heard = error
            elif question.kind == "create":
                self._created(name, error)
            elif question.kind == "describe":
                self._described(name, future, error, question.configs.get(name))
        self._heard(heard)
        if heard is not None or self._trouble:
            self._not_before = time.monotonic() + _AGAIN_SECONDS

    def _created(self, name: str, error: KafkaError | None) -> None:
        if error is None:
            self._trouble.pop(name, None)
            self._log.info("topic created", topic=name)
        elif error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            self._troubled(name, f"topic {name} cannot be created: {error.str()}", fault_of(error))

    def _described(self, name: str, future: Future[Any], error: KafkaError | None, config: Future[Any] | None) -> None:
        if error is not None:
            self._undescribed(name, error)
            return
        description = future.result()
        operations = description.authorized_operations
        if operations and not {AclOperation.WRITE, AclOperation.ALL} & set(operations):
            self._troubled(name, f"we may not write to topic {name}", TOPIC_DENIED)
        elif any(partition.leader is None for partition in description.partitions):
            self._not_before = time.monotonic() + _SOON_SECONDS  # just created
        else:
            self._become_ready(name, len(description.partitions), _config(config))

    def _undescribed(self, name: str, error: KafkaError) -> None:
        fault = fault_of(error)
        if fault is TOPIC_MISSING and self._settings.create_topics:
            self.ready.pop(name, None)
            self._wanted[name] = self._missing[name] = None
        elif fault is TOPIC_MISSING:
            self._troubled(name, f"topic {name} does not exist", fault)
        else:
            self._troubled(name, f"topic {name}: {error.str()}", fault)

    def _troubled(self, name: str, text: str, fault: Fault) -> None:
        self.ready.pop(name, None)
        self._wanted[name] = None
        self._trouble[name] = SinkOutage(text, fault=fault.name, action=fault.action)

    def _become_ready(self, name: str, partitions: int, config: dict[str, str]) -> None:
        before = self.ready.get(name)
        if before is not None and before.partitions != partitions:
            self._log.warning(
                "the topic's number of partitions has changed: keys may move to other partitions",
                fault="kafka-partitions-changed",
                action="Consumers must finish the old records of a key before they take new ones of it.",
                topic=name,
                before=before.partitions,
                now=partitions,
            )
        limit = config.get("max.message.bytes", "")
        compacted = "compact" in config.get("cleanup.policy", "")
        self.ready[name] = Topic(name, partitions, int(limit) if limit.isdecimal() else UNLIMITED, compacted)
        self._wanted.pop(name, None)
        self._held.pop(name, None)
        self._trouble.pop(name, None)


# The broker did not speak: about the connection, not about the topic.
_NO_ANSWER: Final = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._DESTROY}
)


def _error(future: Future[Any]) -> KafkaError | None:
    problem = future.exception()
    if problem is None:
        return None
    error = error_in(problem) if isinstance(problem, KafkaException) else None
    return error or KafkaError(KafkaError._FAIL, type(problem).__name__)


def _config(future: Future[Any] | None) -> dict[str, str]:
    """The topic's configuration; empty where we may not read it."""
    if future is None or future.exception() is not None:
        return {}
    return {name: entry.value or "" for name, entry in future.result().items()}
