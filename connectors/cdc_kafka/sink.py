"""Records to Kafka by librdkafka's idempotent producer: acknowledged by all in-sync replicas, never given up by itself.

A ticket is handed to `produce` as the delivery callback, so nothing of ours runs for a record between `offer` and its
ticket. librdkafka keeps the order of a partition through its own retries. What fails in spite of them is a gap; the pump
then purges and goes back. The same producer is kept across a purge: the broker refuses what an old request may still
bring, by its sequence number or by the epoch that librdkafka raises.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from cdc.errors import CdcError, DeliveryGap, RecordRefused, SinkOutage
from cdc.failpoints import hit
from cdc.model.finding import Fault
from cdc.model.record import Record
from cdc.observe.logs import get_logger
from cdc.ports import ConnectorContext, Ticket
from cdc_kafka.batches import BatchSize
from cdc_kafka.configuration import admin_configuration, configuration, wrong_setting
from cdc_kafka.faults import BROKEN, COMPACTED, INVALID, PURGED, TOO_LARGE, error_in, fault_of
from cdc_kafka.inquiry import Inquiry
from cdc_kafka.link import LibraryLog, Link
from cdc_kafka.partition import Copies, murmur2
from cdc_kafka.topics import Topic, Topics

_ANY: Final = -1
# `Producer.poll` sits out a timeout of 0.2 s or more even after events came, and so may not be given one.
_STEP: Final = 0.1
_STEP_ASKING: Final = 0.005
_SILENCE_SECONDS: Final = 2.0
# A topic whose records were refused is left alone this long, or each refusal would bring the next.
_HOLD_SECONDS: Final = 2.0
# A record batch's header, and the most that its first record needs besides its bytes (message format v2).
_FRAME: Final = 61 + 36


class KafkaSink:
    """Implements `cdc.ports.Sink`."""

    _producer: Producer
    _topics: Topics
    _batches: BatchSize

    def __init__(self, context: ConnectorContext) -> None:
        self._settings = context.settings
        self._config = configuration(context)
        self._link = Link()
        self._library_log = LibraryLog(self._link)
        self._hashes: dict[bytes, int] = {}
        self._copies: Copies | None = None
        self._renew = ""
        self._heard_at = time.monotonic()
        self._log = get_logger(sink="kafka")

    def open(self) -> None:
        self._producer = self._make_producer(self._config)
        self._batches = BatchSize(int(self._config["batch.size"]))
        self._topics = Topics(Inquiry(self._make_admin()), self._settings, self._link.heard)

    @property
    def partitions(self) -> dict[str, int]:
        """How many partitions each topic has that was written to."""
        return {name: topic.partitions for name, topic in self._topics.ready.items()}

    # -- taking records

    def offer(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        if self._renew and not self._renewed():
            return 0
        produce, ready = self._producer.produce, self._topics.ready
        name, room = "", 0
        index = start
        try:
            for index in range(start, len(records)):
                record = records[index]
                if record.topic is not name:
                    if record.topic not in ready:
                        self._topics.want({each.topic for each in records[index:]})
                        return index - start
                    name = record.topic
                    room = ready[name].room
                key, value = record.key, record.value
                if key is None or record.headers or record.broadcast or (value is not None and len(value) > room):
                    self._produce_rare(record, ready[name], ticket)
                else:
                    produce(name, value, key, _ANY, ticket)
        except BufferError:
            return index - start
        except KafkaException as problem:
            self._not_taken(problem, records[index], index - start)
            return index - start
        except RecordRefused as refusal:
            refusal.taken = index - start
            raise
        hit("kafka.produced")
        return len(records) - start

    def _produce_rare(self, record: Record, topic: Topic, ticket: Ticket) -> None:
        if _size(record) + _FRAME > topic.limit:
            raise _refused(record, f"topic {topic.name} takes {topic.limit} bytes at most", TOO_LARGE)
        if record.key is None and topic.compacted:
            raise _refused(record, f"topic {topic.name} is compacted and takes none without a key", COMPACTED)
        if record.broadcast:
            self._broadcast(record, topic, ticket)
            return
        partition = _ANY if record.key is not None else self._hash(record.ordering_key) % topic.partitions
        headers: Any = record.headers
        self._producer.produce(topic.name, record.value, record.key, partition, ticket, None, 0, headers)

    def _broadcast(self, record: Record, topic: Topic, ticket: Ticket) -> None:
        """A copy on each partition. When the queue is full in between, the next offer goes on where this one stopped."""
        copies, headers = self._copies, cast(Any, record.headers)
        if copies is None or copies.record is not record:
            copies = self._copies = Copies(record, ticket, topic.partitions)
        while copies.sent < copies.count:
            self._producer.produce(topic.name, record.value, record.key, copies.sent, copies, None, 0, headers)
            copies.sent += 1
        self._copies = None

    def _hash(self, ordering_key: bytes) -> int:
        """Ordering keys of records without a key are few: names of tables."""
        if ordering_key not in self._hashes:
            self._hashes[ordering_key] = murmur2(ordering_key) & 0x7FFFFFFF
        return self._hashes[ordering_key]

    def _not_taken(self, problem: KafkaException, record: Record, taken: int) -> None:
        """`produce` itself said no: the record cannot be sent, or cannot be sent now."""
        error = error_in(problem)
        if error is None:
            raise problem
        fault = fault_of(error)
        if fault is TOO_LARGE:
            most = self._config["message.max.bytes"]
            raise _refused(record, f"CDC_KAFKA_MESSAGE_MAX_BYTES allows {most}", fault, taken) from None
        if error.fatal() or fault is BROKEN:
            self._renew = error.str()
        else:
            self._hold(record.topic, error, fault)

    # -- acknowledgements and failures

    def poll(self, timeout: float) -> None:
        if not timeout:
            self._turn()
            self._serve(0.0)
            return
        deadline = time.monotonic() + timeout
        while not self._turn() and (left := deadline - time.monotonic()) > 0:
            if self._serve(min(left, _STEP_ASKING if self._topics.asking() else _STEP)):
                return

    def _turn(self) -> bool:
        """Whether there is news about topics."""
        news = self._topics.turn(self._link.doubtful() or self._silent())
        if news and self._batches.fit(self._topics):
            self._renew = f"batches of at most {self._batches.size} bytes fit the topics"
        return news

    def _silent(self) -> bool:
        """Something is on its way, and no acknowledgement came for long: a topic may have gone from under us."""
        return time.monotonic() - self._heard_at > _SILENCE_SECONDS and len(self._producer) > 0

    def _serve(self, timeout: float) -> bool:
        """Let librdkafka call back. Whether there were acknowledgements."""
        before = self._link.events
        try:
            count = self._producer.poll(timeout)
        except KafkaException as problem:
            self._broken(problem)
            return True
        acknowledged = count > self._link.events - before
        if acknowledged:
            hit("kafka.acknowledged")
            self._link.well()
            self._heard_at = time.monotonic()
        return acknowledged

    def _broken(self, problem: KafkaException) -> None:
        """A fatal error: this producer sends nothing any more, and fails what it holds."""
        error = error_in(problem)
        if error is None or not error.fatal():
            raise problem
        self._renew = error.str()

    def explain(self, error: KafkaError, message: Message) -> CdcError:
        fault, topic = fault_of(error), message.topic() or ""
        if fault in (TOO_LARGE, INVALID):
            record = _record_of(message)
            if self._batches.alone(_size(record)):
                return _refused(record, f"topic {topic}: {error.str()}", fault)
            self._batches.suspect(topic)
        elif error.fatal() or fault is BROKEN:
            self._renew = error.str()
        elif fault is not PURGED:
            self._hold(topic, error, fault)
        return DeliveryGap(
            f"a record for topic {topic} was not delivered: {error.str()}", fault=fault.name, action=fault.action
        )

    def _hold(self, topic: str, error: KafkaError, fault: Fault) -> None:
        outage = SinkOutage(f"topic {topic}: {error.str()}", fault=fault.name, action=fault.action)
        self._topics.hold(topic, outage, _HOLD_SECONDS)

    def outage(self) -> SinkOutage | None:
        return self._link.outage() or self._topics.outage()

    # -- going back and ending

    def purge(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self._copies = None
        while True:
            # What was in flight comes back to the queue when its connection breaks, so once is not enough.
            self._producer.purge(True, False, False)
            self._wait_for_reports(_STEP_ASKING)
            if not len(self._producer):
                self._topics.forget()
                hit("kafka.purged")
                return True
            if time.monotonic() >= deadline:
                return False

    def _wait_for_reports(self, seconds: float) -> None:
        """As `_serve`, but what comes is no proof that anything works."""
        try:
            self._producer.poll(seconds)
        except KafkaException as problem:
            self._broken(problem)

    def flush(self, timeout: float) -> bool:
        self._turn()
        try:
            return self._producer.flush(timeout) == 0
        except KafkaException as problem:
            self._broken(problem)
            return False

    def close(self) -> None:
        """Without a flush: `Producer.close` would wait for an unreachable broker for ever."""
        producer = getattr(self, "_producer", None)
        if producer is None:
            return
        producer.purge(True, True, False)
        del self._producer, self._topics

    # -- the producer

    def _renewed(self) -> bool:
        """A new producer in place of the old one, once that has nothing in its hands any more."""
        if len(self._producer):
            return False
        self._log.info("the producer is made anew", reason=self._renew)
        self._renew = ""
        self._producer = self._make_producer({**self._config, "batch.size": str(self._batches.size)})
        return True

    def _make_producer(self, config: dict[str, str]) -> Producer:
        try:
            return Producer({**config, "error_cb": self._link.on_error, "logger": self._library_log})
        except (KafkaException, TypeError, ValueError) as problem:
            raise wrong_setting(problem, config) from None

    def _make_admin(self) -> AdminClient:
        return AdminClient(admin_configuration(self._config), logger=self._library_log)


def _size(record: Record) -> int:
    headers = record.headers or ()
    return record.size() + sum(len(name) + len(value) + 10 for name, value in headers)


def _record_of(message: Message) -> Record:
    """The record as librdkafka gives it back."""
    key, topic = message.key(), message.topic() or ""
    headers: list[Any] = list(message.headers() or ())
    return Record(topic, key, message.value(), topic.encode() if key is None else key, headers or None)


def _refused(record: Record, why: str, fault: Fault, taken: int = 0) -> RecordRefused:
    return RecordRefused(
        f"a record of {_size(record)} bytes for topic {record.topic} cannot be sent: {why}",
        taken=taken,
        record=record,
        fault=fault.name,
        action=fault.action,
    )
