"""K2, K3, K8: what a failed report means, provoked on librdkafka's imitation of a broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from cdc.errors import CdcError, DeliveryGap, RecordRefused
from cdc_kafka import inquiry
from cdc_kafka import sink as sink_module
from cdc_kafka.settings import KafkaSettings
from cdc_kafka.sink import KafkaSink
from tests.conformance.driving import Tally, deliver, make_context, numbered, purge, take_all, turn_until
from tests.integration.kafka.imitation import Imitation

TOPIC = "t"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The imitation has no controller to be courteous."""
    monkeypatch.setattr(inquiry, "_COURTESY_SECONDS", 0.1)
    monkeypatch.setattr(sink_module, "_HOLD_SECONDS", 0.4)


@pytest.fixture
def broker() -> Iterator[Imitation]:
    with Imitation() as broker:
        broker.create_topic(TOPIC)
        yield broker


@pytest.fixture
def sink(broker: Imitation) -> Iterator[KafkaSink]:
    sink = make_sink(broker)
    yield sink
    sink.close()


def make_sink(broker: Imitation, **given: str) -> KafkaSink:
    sink = KafkaSink(make_context(f"kafka://{broker.bootstrap}", KafkaSettings.model_validate(given)))
    sink.open()
    return sink


def fail(sink: KafkaSink, broker: Imitation, *codes: int, count: int = 1, warm: bool = True) -> CdcError:
    """Have one produce request fail; what the sink says about the first failed report."""
    if warm:
        deliver(sink, numbered(TOPIC, 1))
    broker.fail_produce(*codes)
    tally = Tally()
    take_all(sink, numbered(TOPIC, count), tally)
    turn_until(sink, lambda: tally.failures)
    explained = sink.explain(*tally.failures[0])
    purge(sink)
    return explained


@pytest.mark.parametrize(
    ("code", "fault", "held"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "kafka-topic-denied", True),
        (KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT, "kafka-version", True),
        (KafkaError.INVALID_TIMESTAMP, "kafka-record-invalid", False),
    ],
)
def test_K8_a_failed_report_is_a_gap_and_the_topic_is_left_alone_for_a_while(
    sink: KafkaSink, broker: Imitation, code: int, fault: str, held: bool
) -> None:
    explained = fail(sink, broker, code, count=2)
    assert isinstance(explained, DeliveryGap)
    assert explained.fault == fault
    outage = sink.outage()
    assert (outage is not None and outage.fault == fault) is held
    if held:
        assert sink.offer(numbered(TOPIC, 1), 0, Tally()) == 0
    deliver(sink, numbered(TOPIC, 10))
    assert sink.outage() is None


@pytest.mark.parametrize(
    "code",
    [KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.KAFKA_STORAGE_ERROR, KafkaError.NOT_LEADER_FOR_PARTITION],
)
def test_K1_what_heals_is_retried_by_librdkafka(sink: KafkaSink, broker: Imitation, code: int) -> None:
    deliver(sink, numbered(TOPIC, 1))
    broker.fail_produce(code, code, code)
    deliver(sink, numbered(TOPIC, 100))


@pytest.mark.parametrize("code", [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.UNKNOWN_PRODUCER_ID])
def test_K1_a_producer_that_is_broken_is_made_anew(sink: KafkaSink, broker: Imitation, code: int) -> None:
    deliver(sink, numbered(TOPIC, 1))
    broker.fail_produce(code)
    tally = Tally()
    take_all(sink, numbered(TOPIC, 5), tally)
    turn_until(sink, lambda: tally.called == 5)
    if tally.failures:
        explained = sink.explain(*tally.failures[0])
        assert isinstance(explained, DeliveryGap)
        purge(sink)
    deliver(sink, numbered(TOPIC, 100))


def test_K3_a_record_alone_in_its_batch_is_refused_as_it_is(broker: Imitation) -> None:
    sink = make_sink(broker, batch_size="1")
    refused = fail(sink, broker, KafkaError.MSG_SIZE_TOO_LARGE)
    sink.close()
    assert isinstance(refused, RecordRefused)
    record = numbered(TOPIC, 1)[0]
    assert refused.record is not None
    assert (refused.record.topic, refused.record.key, refused.record.value) == (TOPIC, record.key, record.value)
    assert refused.fault == "kafka-record-too-large"
    assert '"n"' not in str(refused)


def test_K3_of_a_batch_that_is_too_large_no_record_is_blamed_before_it_was_sent_alone(
    sink: KafkaSink, broker: Imitation
) -> None:
    explained = fail(sink, broker, KafkaError.MSG_SIZE_TOO_LARGE, count=20)
    assert isinstance(explained, DeliveryGap)
    refused = fail(sink, broker, KafkaError.MSG_SIZE_TOO_LARGE, count=20)
    assert isinstance(refused, RecordRefused)
    deliver(sink, numbered(TOPIC, 100))


def test_K13_an_error_in_a_ticket_leaves_the_sink_usable(sink: KafkaSink, broker: Imitation) -> None:
    deliver(sink, numbered(TOPIC, 1))
    broker.fail_produce(KafkaError.TOPIC_AUTHORIZATION_FAILED)

    def bad(error: Any, message: Any) -> None:
        raise KeyError(message.topic())

    take_all(sink, numbered(TOPIC, 1), bad)  # type: ignore[arg-type] # a ticket as a plain function
    with pytest.raises(KeyError):
        turn_until(sink, lambda: False)
    purge(sink)
    deliver(sink, numbered(TOPIC, 10))
