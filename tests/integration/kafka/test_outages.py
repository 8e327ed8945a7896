"""K1, K2, K4: the broker goes away in every manner and comes back; nothing is lost, doubled or out of order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest

from cdc_kafka import inquiry
from cdc_kafka.sink import KafkaSink
from tests.conformance.driving import Tally, numbered, purge, take_all, turn_until
from tests.conformance.rigs import Delivered, by_key, expected
from tests.integration.kafka.sinks import new_topic, open_sink
from tests.servers.kafka import KafkaServer
from tests.servers.require import required


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    """This module's own: it is stopped, paused and killed."""
    with required(), KafkaServer(proxied=True) as server:
        yield server


@pytest.fixture
def topic(broker: KafkaServer) -> str:
    name = new_topic()
    broker.create_topic(name, partitions=3)
    return name


def read(broker: KafkaServer, topic: str) -> dict[bytes | None, list[Delivered]]:
    return by_key(Delivered(r.key, r.value, r.headers) for r in broker.read_all(topic))


def outage_of(sink: KafkaSink, fault: str) -> str:
    """Wait for it; its text."""
    turn_until(sink, lambda: (found := sink.outage()) is not None and found.fault == fault)
    return str(sink.outage())


def test_K4_down_from_the_start() -> None:
    with required():
        server = KafkaServer()
    try:
        with open_sink(server.bootstrap) as sink:
            tally, records = Tally(), numbered(new_topic(), 50)
            assert "Connection refused" in outage_of(sink, "kafka-unreachable")
            assert sink.offer(records, 0, tally) == 0
            server.start()
            server.create_topic(records[0].topic)
            take_all(sink, records, tally)
            turn_until(sink, lambda: tally.acknowledged == 50)
            assert sink.outage() is None
    finally:
        server.close()


def test_K2_down_for_longer_than_a_request_may_take(broker: KafkaServer, topic: str) -> None:
    """Four of the request's time limits; a record that was given up would fail its ticket."""
    with open_sink(broker.bootstrap) as sink:
        tally, records = Tally(), numbered(topic, 6_000, padding=500)
        take_all(sink, records[:3_000], tally)
        turn_until(sink, lambda: tally.called > 100)
        broker.kill9()
        take_all(sink, records[3_000:], tally)
        assert outage_of(sink, "kafka-unreachable")
        until = time.monotonic() + 4.0
        turn_until(sink, lambda: time.monotonic() > until)
        assert tally.failures == []
        assert sink.outage() is not None
        broker.start()
        turn_until(sink, lambda: tally.called == len(records))
        assert tally.failures == []
        assert sink.outage() is None
    assert read(broker, topic) == by_key(expected(records))


def test_K1_a_restart_under_load(broker: KafkaServer, topic: str) -> None:
    """Shut down in good order, with requests in its hands."""
    with open_sink(broker.bootstrap) as sink:
        tally, records = Tally(), numbered(topic, 6_000, padding=300)
        take_all(sink, records[:4_000], tally)
        turn_until(sink, partial(more_than, tally, 0))
        broker.stop()
        take_all(sink, records[4_000:], tally)
        broker.start()
        turn_until(sink, lambda: tally.called == len(records))
        assert tally.failures == []
    assert read(broker, topic) == by_key(expected(records))


def test_K1_connections_cut_under_load(broker: KafkaServer, topic: str) -> None:
    """A request that was sent and not answered is sent again; the broker knows it by its sequence number."""
    with open_sink(broker.proxied_bootstrap) as sink:
        tally, records = Tally(), numbered(topic, 8_000, padding=300)
        for begin in range(0, 8_000, 1_000):
            take_all(sink, records[begin : begin + 1_000], tally)
            turn_until(sink, partial(more_than, tally, begin - 300))
            broker.proxy.cut()
        turn_until(sink, lambda: tally.called == len(records))
        assert tally.failures == []
    assert read(broker, topic) == by_key(expected(records))


def more_than(tally: Tally, count: int) -> bool:
    return tally.called > count


def test_X12_a_network_that_swallows_everything_is_an_outage(
    broker: KafkaServer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiry, "ANSWER_SECONDS", 1.0)
    with open_sink(broker.proxied_bootstrap) as sink:
        tally, records = Tally(), numbered(topic, 2_000)
        take_all(sink, records[:1_000], tally)
        turn_until(sink, lambda: tally.called == 1_000)
        broker.proxy.swallow()
        take_all(sink, records[1_000:], tally)
        assert outage_of(sink, "kafka-unreachable")
        broker.proxy.release()
        turn_until(sink, lambda: tally.called == 2_000)
        turn_until(sink, lambda: sink.outage() is None)
    assert read(broker, topic) == by_key(expected(records))


def test_purge_waits_for_what_is_in_flight_and_nothing_old_lands_later(broker: KafkaServer, topic: str) -> None:
    """The broker is frozen with our requests in its hands, and wakes up when the replay is on its way."""
    with open_sink(broker.bootstrap) as sink:
        first, second = numbered(topic, 3_000, padding=300), numbered(topic, 3_000, start=50_000)
        tally = Tally()
        take_all(sink, first[:10], tally)
        turn_until(sink, lambda: tally.called == 10)
        broker.pause()
        take_all(sink, first[10:], tally)
        sink.poll(0.1)  # the linger time: now requests are out
        began = time.monotonic()
        assert not sink.purge(0.1)
        assert time.monotonic() - began < 1.0
        purge(sink)
        replayed = Tally()
        offered = 0
        for _ in range(20):
            offered += sink.offer(second, offered, replayed)
            sink.poll(0.02)
        broker.resume()
        take_all(sink, second[offered:], replayed)
        turn_until(sink, lambda: replayed.called == len(second))
        assert replayed.failures == []
    wanted = by_key(expected(second))
    for key, values in read(broker, topic).items():
        assert values[-len(wanted[key]) :] == wanted[key]


def test_X8_closing_does_not_wait_for_a_lost_broker(broker: KafkaServer, topic: str) -> None:
    with open_sink(broker.bootstrap) as sink:
        tally = Tally()
        take_all(sink, numbered(topic, 10), tally)
        turn_until(sink, lambda: tally.called == 10)
        broker.pause()
        try:
            take_all(sink, numbered(topic, 1_000), tally)
            sink.poll(0.1)
            began = time.monotonic()
            sink.close()
            assert time.monotonic() - began < 3.0
        finally:
            broker.resume()


def test_poll_returns_with_the_first_acknowledgement(broker: KafkaServer, topic: str) -> None:
    with open_sink(broker.bootstrap) as sink:
        tally = Tally()
        take_all(sink, numbered(topic, 1), tally)
        turn_until(sink, lambda: tally.called)
        take_all(sink, numbered(topic, 1), tally)
        began = time.monotonic()
        sink.poll(5.0)
        assert time.monotonic() - began < 2.0
        assert tally.called == 2
