"""One suite over all sinks: what the port promises, each of them keeps.

Kafka is a real broker, killed and stalled here; so it is this module's own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.model.record import Record
from tests.conformance.driving import Tally, deliver, numbered, purge, take_all, turn_until
from tests.conformance.rigs import FileRig, KafkaRig, NullRig, Rig, StdoutRig, by_key, expected
from tests.servers.kafka import KafkaServer
from tests.servers.require import required

SINKS = ("kafka", "file", "stdout", "null")
STALLING = ("kafka", "stdout")  # the others are never full
KEEPING = ("kafka", "file")  # the others keep nothing


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    with required(), KafkaServer() as server:
        yield server


@pytest.fixture(params=SINKS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    rig: Rig
    match request.param:
        case "kafka":
            rig = KafkaRig(request.getfixturevalue("broker"))
        case "file":
            rig = FileRig(tmp_path)
        case "stdout":
            rig = StdoutRig()
        case _:
            rig = NullRig()
    yield rig
    rig.go_on()
    rig.close()


def check(rig: Rig, topic: str, records: list[Record]) -> None:
    """Exactly these were delivered, in order for each key."""
    if rig.reads_back:
        assert by_key(rig.read(topic)) == by_key(expected(records))


def test_K1_order_of_each_key_holds(rig: Rig) -> None:
    records = numbered(rig.topic(), 5_000, keys=50)
    deliver(rig.open(), records)
    check(rig, rig.topic(), records)


def test_every_ticket_is_called_once_for_each_of_its_records(rig: Rig) -> None:
    sink, tallies, records = rig.open(), [Tally() for _ in range(20)], numbered(rig.topic(), 100)
    for tally in tallies:
        take_all(sink, records, tally)
    turn_until(sink, lambda: all(tally.called == 100 for tally in tallies))
    sink.poll(0.2)
    assert [tally.acknowledged for tally in tallies] == [100] * 20


def test_no_ticket_is_called_from_within_offer(rig: Rig) -> None:
    sink, tally = rig.open(), Tally()
    take_all(sink, numbered(rig.topic(), 1), tally)
    turn_until(sink, lambda: tally.called)
    taken = sink.offer(numbered(rig.topic(), 50), 0, tally)
    assert taken == 50
    assert tally.called == 1


def test_offer_takes_from_start_on(rig: Rig) -> None:
    sink, tally, records = rig.open(), Tally(), numbered(rig.topic(), 10)
    turn_until(sink, lambda: sink.offer(records, 7, tally))
    turn_until(sink, lambda: tally.called == 3)
    assert sink.offer(records, 10, tally) == 0
    check(rig, rig.topic(), records[7:])


def test_empty_null_binary_and_headers_come_through(rig: Rig) -> None:
    topic = rig.topic()
    everything = bytes(range(256))
    records = [
        Record(topic, b'{"id":1}', None, b"1"),
        Record(topic, b'{"id":1}', b"", b"1"),
        Record(topic, b"\x00\xff", b"\xfe" * 10, b"2"),
        Record(topic, everything, everything, b"3"),
        Record(
            topic, b'{"id":4}', b'{"a":"\\n\xc3\xa4"}', b"4", [("id", b"x:0/1:2"), ("raw", everything), ("id", b"")]
        ),
        Record(topic, b"[1]", b"null", b"5"),
        Record(topic, b"[1]", b"not\njson", b"5"),
        Record(topic, b"5", b'"text"', b"6"),
        Record(topic, b"", b"1", b""),
    ]
    deliver(rig.open(), records)
    if rig.reads_back:
        got = by_key(rig.read(topic))
        assert {key: [r.headers for r in rs] for key, rs in got.items()} == {
            key: [r.headers for r in rs] for key, rs in by_key(expected(records)).items()
        }
        for key, wanted in by_key(expected(records)).items():
            assert [_plain(r.value) for r in got[key]] == [_plain(r.value) for r in wanted]


def _plain(value: bytes | None) -> bytes | None:
    """JSON escapes may be written in more than one way; the readers here write ASCII."""
    return value.replace(b"\xc3\xa4", b"\\u00e4") if value and value.startswith(b"{") else value


def test_records_without_a_key_keep_their_order(rig: Rig) -> None:
    topic = rig.topic()
    records = [Record(topic, None, b"%d" % n, b"public.t") for n in range(500)]
    deliver(rig.open(), records)
    check(rig, topic, records)


def test_a_broadcast_record_counts_once(rig: Rig) -> None:
    topic = rig.topic()
    records = [
        *numbered(topic, 30),
        Record(topic, None, b'{"op":"t"}', b"public.t", broadcast=True),
        *numbered(topic, 30, start=30),
    ]
    deliver(rig.open(), records)
    if rig.reads_back:
        assert any(each.value == b'{"op":"t"}' for each in rig.read(topic))


def test_large_records_come_through(rig: Rig) -> None:
    records = numbered(rig.topic(), 20, padding=900_000)
    deliver(rig.open(memory=2_000_000), records)
    check(rig, rig.topic(), records)


def test_many_topics(rig: Rig) -> None:
    """1 000 of them; a real broker is asked for 30."""
    count = 30 if isinstance(rig, KafkaRig) else 1_000
    topics = [rig.topic(f"t{n}") for n in range(count)]
    records = [Record(topic, b"%d" % n, b"%d" % n, b"%d" % n) for n in range(3) for topic in topics]
    deliver(rig.open(), records, 60)
    if not isinstance(rig, NullRig):
        check(rig, topics[7], [r for r in records if r.topic == topics[7]])


def test_K13_what_a_ticket_raises_comes_out_and_the_others_are_still_called(rig: Rig) -> None:
    sink, tally = rig.open(), Tally()
    raised = 0

    def bad(error: object, message: object) -> None:
        nonlocal raised
        raised += 1
        raise ZeroDivisionError

    records = numbered(rig.topic(), 6, keys=1)
    turn_until(sink, lambda: sink.offer(records[:3], 0, tally))
    assert sink.offer(records[3:4], 0, bad) == 1
    assert sink.offer(records[4:], 0, tally) == 2
    with pytest.raises(ZeroDivisionError):
        turn_until(sink, lambda: raised > 1)
    turn_until(sink, lambda: tally.called == 5)
    sink.poll(0.1)
    assert (raised, tally.called) == (1, 5)


@pytest.mark.parametrize("rig", STALLING, indirect=True)
def test_K4_a_full_sink_takes_nothing_and_does_not_block(rig: Rig) -> None:
    sink, tally = rig.open(memory=2_000_000), Tally()
    records = numbered(rig.topic(), 10_000, padding=1_000)
    take_all(sink, records[:1], tally)
    turn_until(sink, lambda: tally.called)
    rig.stall()
    taken = 1
    for _ in range(40):  # what the system's own buffers hold may go on for a while
        began = time.monotonic()
        taken += (last := sink.offer(records, taken, tally))
        sink.poll(0.01)
        assert time.monotonic() - began < 0.5
        if not last:
            break
    assert not last
    assert taken < 6_000
    acknowledged = tally.called
    sink.poll(0.05)
    assert tally.called == acknowledged < taken
    rig.go_on()
    take_all(sink, records[taken:], tally)
    turn_until(sink, lambda: tally.acknowledged == len(records))
    check(rig, rig.topic(), records)


def test_purge_forgets_what_was_taken(rig: Rig) -> None:
    sink, old, first = rig.open(), Tally(), numbered(rig.topic(), 2_000, padding=500)
    take_all(sink, first, old)
    purge(sink)
    called = old.called
    second = numbered(rig.topic(), 500, start=10_000)
    deliver(sink, second)
    assert old.called == called
    if rig.reads_back:
        for key, values in by_key(rig.read(rig.topic())).items():
            of_second = by_key(expected(second)).get(key, [])
            assert values[len(values) - len(of_second) :] == of_second  # nothing old lands after what is new
            assert (
                values[: len(values) - len(of_second)] == by_key(expected(first))[key][: len(values) - len(of_second)]
            )


def test_purge_again_and_again_under_load(rig: Rig) -> None:
    """Each time a random part is on its way; sequence numbers and epochs must not get out of step."""
    sink, chooser = rig.open(), random.Random(7)
    records = numbered(rig.topic(), 3_000, keys=9, padding=300)
    for _ in range(15):
        tally = Tally()
        take_all(sink, records[: chooser.randrange(1, 3_000)], tally)
        sink.poll(chooser.choice([0.0, 0.001, 0.01, 0.03]))
        purge(sink)
    deliver(sink, records)
    if rig.reads_back:
        wanted = by_key(expected(records))
        assert all(values[-len(wanted[key]) :] == wanted[key] for key, values in by_key(rig.read(rig.topic())).items())


def test_X8_flush_waits_for_everything_that_was_taken(rig: Rig) -> None:
    sink, tally, records = rig.open(), Tally(), numbered(rig.topic(), 3_000)
    take_all(sink, records, tally)
    assert sink.flush(20.0)
    assert tally.acknowledged == len(records)
    check(rig, rig.topic(), records)


@pytest.mark.parametrize("rig", STALLING, indirect=True)
def test_X8_flush_ends_when_time_is_up(rig: Rig) -> None:
    sink, tally = rig.open(), Tally()
    take_all(sink, numbered(rig.topic(), 1), tally)
    turn_until(sink, lambda: tally.called)
    rig.stall()
    take_all(sink, numbered(rig.topic(), 1_000, padding=900), tally)
    began = time.monotonic()
    assert not sink.flush(0.3)
    assert time.monotonic() - began < 2.0
    rig.go_on()
    assert sink.flush(20.0)


@pytest.mark.parametrize("rig", KEEPING, indirect=True)
def test_X1_what_was_acknowledged_survives_a_crash(rig: Rig) -> None:
    sink, tally, records = rig.open(), Tally(), numbered(rig.topic(), 4_000, padding=200)
    take_all(sink, records[:2_000], tally)
    turn_until(sink, lambda: tally.called >= 500)
    acknowledged = tally.acknowledged
    rig.crash()
    found = rig.read(rig.topic())
    assert len(found) >= acknowledged
    take_all(sink, records[2_000:], tally)
    turn_until(sink, lambda: tally.acknowledged == len(records))
    check(rig, rig.topic(), records)  # and nothing twice: idempotence


def test_nothing_is_sent_after_close(rig: Rig) -> None:
    sink, tally = rig.open(), Tally()
    take_all(sink, numbered(rig.topic(), 10), tally)
    turn_until(sink, lambda: tally.called == 10)
    assert sink.outage() is None
    sink.close()
    sink.close()
    check(rig, rig.topic(), numbered(rig.topic(), 10))
