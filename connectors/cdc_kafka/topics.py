"""What is known about topics: whether they are there, how many partitions they have, how large a record they take.

Asked for by a thread beside the sink, so that the sink never waits: `ready` holds what may be produced to; for the rest
`turn` carries questions and answers, and `outage` says why a topic is not ready. A topic that is missing is asked for again
each second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from cdc.errors import SinkOutage
from cdc.model.finding import Fault
from cdc.observe.logs import get_logger
from cdc_kafka.faults import TOPIC_DENIED, TOPIC_MISSING, error_in, fault_of
from cdc_kafka.inquiry import Answer, Inquiry
from cdc_kafka.settings import KafkaSettings

UNLIMITED: Final = 1 << 62
_AGAIN_SECONDS: Final = 1.0
_SOON_SECONDS: Final = 0.05
_REFRESH_SECONDS: Final = 30.0
_MOST_AT_ONCE: Final = 200
_ROOM_FOR_REST: Final = 4096  # key, headers and frame

Answers = dict[str, Answer]


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


class Topics:
    """`heard` is told of each question's fate: None when the broker answered, else why nobody did."""

    def __init__(self, inquiry: Inquiry, settings: KafkaSettings, heard: Callable[[KafkaError | None], None]) -> None:
        self.ready: dict[str, Topic] = {}
        self._inquiry = inquiry
        self._settings = settings
        self._heard = heard
        self._trouble: dict[str, SinkOutage] = {}
        self._wanted: dict[str, None] = {}
        self._held: dict[str, tuple[float, SinkOutage]] = {}
        self._question: Future[Answers] | None = None
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
        first = next(iter(trouble.values()), None)
        if first is None or len(trouble) == 1:
            return first
        return SinkOutage(f"{first} (and {len(trouble) - 1} more topics)", fault=first.fault, action=first.action)

    def forget(self) -> None:
        """After a gap: what was known may be why. An answer under way is dropped with it; what is held stays so."""
        self.ready.clear()
        self._trouble.clear()
        self._wanted.clear()
        self._question = None
        self._not_before = 0.0

    def hold(self, name: str, outage: SinkOutage, seconds: float) -> None:
        """The broker refused records to it, though it looked ready: not again before some time."""
        self.ready.pop(name, None)
        self._held[name] = (time.monotonic() + seconds, outage)

    def turn(self, probe: bool = False) -> bool:
        """Take the answer that came, ask what is due. Says whether there was an answer.

        With `probe` something is asked each second: does anybody answer?
        """
        question = self._question
        if question is not None:
            if not question.done():
                return False
            self._question = None
            self._take(question)
        now = time.monotonic()
        if now >= self._not_before:
            self._ask_what_is_due(now, probe)
        return question is not None

    def _ask_what_is_due(self, now: float, probe: bool) -> None:
        if self._wanted and (names := self._due(now)):
            self._ask(names)
        elif probe or now >= self._refresh_at:
            self._refresh_at = now + _REFRESH_SECONDS
            self._not_before = now + _AGAIN_SECONDS
            self._ask([*self.ready][:_MOST_AT_ONCE])

    def _due(self, now: float) -> list[str]:
        names = [name for name in self._wanted if name not in self._held or now >= self._held[name][0]]
        for name in names[:_MOST_AT_ONCE]:  # to the end of the line: those in trouble must not keep others waiting
            self._wanted[name] = self._wanted.pop(name)
        return names[:_MOST_AT_ONCE]

    def _ask(self, names: list[str]) -> None:
        """In a thread of its own, which dies with the process: an end must not wait for a broker."""
        question = self._question = Future()

        def work() -> None:
            try:
                question.set_result(self._find_out(names))
            except BaseException as problem:  # noqa: BLE001 # `_take` tells what to make of it
                question.set_exception(problem)

        threading.Thread(target=work, name="kafka-topics", daemon=True).start()

    def _find_out(self, names: list[str]) -> Answers:
        """Runs in the thread. Missing topics are created here if that is wanted."""
        if not names:
            self._inquiry.cluster()
            return {}
        answers = self._inquiry.topics(names)
        missing = [name for name, answer in answers.items() if answer.error and _is_missing(answer.error)]
        if missing and self._settings.create_topics:
            for name, error in self._inquiry.create(missing, self._settings).items():
                answers[name] = Answer(error)
                if error is None:
                    self._log.info("topic created", topic=name)
        return answers

    def _take(self, question: Future[Answers]) -> None:
        problem = question.exception()
        if isinstance(problem, KafkaException):
            self._heard(error_in(problem) or KafkaError(KafkaError._FAIL))
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            return
        if problem is not None:
            raise problem
        self._heard(None)
        for name, answer in question.result().items():
            self._learn(name, answer)
        if self._trouble:
            self._not_before = time.monotonic() + _AGAIN_SECONDS

    def _learn(self, name: str, answer: Answer) -> None:
        error = answer.error
        if error is not None:
            text = "does not exist" if _is_missing(error) else error.str()
            self._troubled(name, f"topic {name}: {text}", fault_of(error))
        elif answer.writable is False:
            self._troubled(name, f"topic {name}: we may not write to it", TOPIC_DENIED)
        elif answer.partitions:
            self._become_ready(name, answer)
        else:  # just created
            self._trouble.pop(name, None)
            self._wanted[name] = None
            self._not_before = time.monotonic() + _SOON_SECONDS

    def _troubled(self, name: str, text: str, fault: Fault) -> None:
        self.ready.pop(name, None)
        self._wanted[name] = None
        self._trouble[name] = SinkOutage(text, fault=fault.name, action=fault.action)

    def _become_ready(self, name: str, answer: Answer) -> None:
        before = self.ready.get(name)
        if before is not None and before.partitions != answer.partitions:
            self._log.warning(
                "the topic's number of partitions has changed: keys may move to other partitions",
                fault="kafka-partitions-changed",
                action="Consumers must finish the old records of a key before they take new ones of it.",
                topic=name,
                before=before.partitions,
                now=answer.partitions,
            )
        limit = answer.config.get("max.message.bytes", "")
        compacted = "compact" in answer.config.get("cleanup.policy", "")
        self.ready[name] = Topic(name, answer.partitions, int(limit) if limit.isdecimal() else UNLIMITED, compacted)
        self._wanted.pop(name, None)
        self._trouble.pop(name, None)
        self._held.pop(name, None)


def _is_missing(error: KafkaError) -> bool:
    return fault_of(error) is TOPIC_MISSING
