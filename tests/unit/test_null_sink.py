"""`null:` counts, and its checksum tells one order from another."""

from __future__ import annotations

import json

import pytest

from cdc.model.record import Record
from cdc_null.connector import CONNECTOR
from cdc_null.sink import NullSink
from tests.conformance.driving import deliver, make_context, numbered


def checksum(records: list[Record]) -> str:
    sink = NullSink(make_context("null:", CONNECTOR.settings()))
    sink.open()
    deliver(sink, records)
    return sink.checksum()


def test_equal_records_in_equal_order() -> None:
    assert checksum(numbered("t", 500)) == checksum(numbered("t", 500))


def test_order_within_a_key_counts() -> None:
    records = numbered("t", 500)
    swapped = [*records]
    swapped[3], swapped[3 + 7] = swapped[3 + 7], swapped[3]  # of one key
    assert checksum(records) != checksum(swapped)


def test_order_between_keys_does_not_count() -> None:
    records = numbered("t", 14)
    assert checksum(records) == checksum(sorted(records, key=lambda record: record.ordering_key))


@pytest.mark.parametrize(
    "other",
    [
        Record("t", b"k", None, b"k"),
        Record("t", b"k", b"", b"k"),
        Record("u", b"k", b"v", b"k"),
        Record("t", b"j", b"v", b"j"),
    ],
)
def test_value_topic_and_key_count(other: Record) -> None:
    assert checksum([Record("t", b"k", b"v", b"k")]) != checksum([other])


def test_at_the_end_it_tells_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    sink = CONNECTOR.open(make_context("null:", CONNECTOR.settings()))
    sink.open()
    deliver(sink, [*numbered("t", 10), *numbered("u", 5)])
    expected = sink.checksum()
    sink.close()
    (text,) = capsys.readouterr().err.splitlines()
    told = json.loads(text)
    assert (told["event"], told["records"], told["topics"], told["checksum"]) == ("null sink closed", 15, 2, expected)
    assert told["bytes"] == sum(record.size() for record in [*numbered("t", 10), *numbered("u", 5)])
