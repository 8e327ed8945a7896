"""K3, K8, K9, K11: topics that are missing, made, removed, changed, too narrow or compacted."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its annotations forget to export them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from cdc.errors import DeliveryGap, RecordRefused
from cdc.model.finding import Severity
from cdc.model.record import Record
from cdc_kafka import topics as topics_module
from cdc_kafka.connector import CONNECTOR
from cdc_kafka.partition import partition_of
from cdc_kafka.settings import KafkaSettings
from cdc_kafka.sink import KafkaSink
from tests.conformance.driving import Tally, deliver, make_context, numbered, purge, take_all, turn_until
from tests.integration.kafka.sinks import QUICK, new_topic, open_sink
from tests.servers.kafka import KafkaServer


def admin(kafka: KafkaServer) -> AdminClient:
    """Keep it until the answer is there: what it has under way ends with it."""
    return AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})


def set_config(kafka: KafkaServer, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(kafka)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(10)


def wait_for_outage(sink: KafkaSink, fault: str, records: list[Record], tally: Tally) -> str:
    def seen() -> bool:
        assert sink.offer(records, 0, tally) == 0
        outage = sink.outage()
        return outage is not None and outage.fault == fault

    turn_until(sink, seen)
    return str(sink.outage())


def test_K8_a_missing_topic_is_an_outage_until_it_is_made(kafka: KafkaServer) -> None:
    topic, tally = new_topic(), Tally()
    records = numbered(topic, 10)
    with open_sink(kafka.bootstrap) as sink:
        text = wait_for_outage(sink, "kafka-topic-missing", records, tally)
        assert topic in text
        assert topic not in kafka.topics()
        kafka.create_topic(topic)
        deliver(sink, records)
        assert sink.outage() is None
    assert tally.called == 0


def test_K8_topics_are_made_where_that_is_wanted(kafka: KafkaServer) -> None:
    topics = [new_topic(f"t{n}") for n in range(3)]
    with open_sink(kafka.bootstrap, create_topics="true", partitions="3", replication="1") as sink:
        deliver(sink, [record for topic in topics for record in numbered(topic, 2)])
        assert sink.partitions == dict.fromkeys(topics, 3)
    defaults = new_topic()
    with open_sink(kafka.bootstrap, create_topics="true") as sink:
        deliver(sink, numbered(defaults, 1))
        assert sink.partitions == {defaults: 4}


def test_K8_a_topic_that_cannot_be_made_is_an_outage(kafka: KafkaServer) -> None:
    with open_sink(kafka.bootstrap, create_topics="true", replication="3") as sink:
        text = wait_for_outage(sink, "kafka-topic-not-created", numbered(new_topic(), 1), Tally())
        assert "eplication factor" in text


def test_K8_other_topics_of_the_same_batch_do_not_help(kafka: KafkaServer) -> None:
    """Order first: what stands behind a record that cannot be sent waits with it."""
    there, missing, tally = new_topic("there"), new_topic("missing"), Tally()
    kafka.create_topic(there)
    records = [*numbered(there, 5), *numbered(missing, 1), *numbered(there, 5, start=5)]
    with open_sink(kafka.bootstrap) as sink:
        turn_until(sink, lambda: sink.offer(records, 0, tally) == 5)
        turn_until(sink, lambda: tally.called == 5)
        assert sink.offer(records, 5, tally) == 0
        kafka.create_topic(missing)
        deliver(sink, records[5:])


def test_K8_a_topic_removed_under_us_is_told_and_used_again_when_it_is_back(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic, partitions=3)
    with open_sink(kafka.bootstrap, topic_metadata_propagation_max_ms="1000") as sink:
        deliver(sink, numbered(topic, 20))
        client = admin(kafka)
        client.delete_topics([topic])[topic].result(10)
        lost = Tally()
        turn_until(sink, lambda: sink.offer(numbered(topic, 20), 0, lost) or sink.outage())
        turn_until(sink, lambda: lost.failures or sink.outage())
        if lost.failures:
            explained = sink.explain(*lost.failures[0])
            assert isinstance(explained, DeliveryGap)
        purge(sink)
        wait_for_outage(sink, "kafka-topic-missing", numbered(topic, 1), Tally())
        kafka.create_topic(topic, partitions=2)
        turn_until(sink, lambda: sink.outage() is None)
        records = numbered(topic, 50)
        _deliver_in_spite_of_gaps(sink, records)
    assert len(kafka.read_all(topic)) >= 50


def _deliver_in_spite_of_gaps(sink: KafkaSink, records: list[Record]) -> None:
    """As the pump does: a failed report, purge, all again. librdkafka may still know partitions that are gone."""
    for _ in range(5):
        tally = Tally()
        take_all(sink, records, tally)
        turn_until(sink, lambda tally=tally: tally.called == len(records))  # type: ignore[misc]
        if not tally.failures:
            return
        sink.explain(*tally.failures[0])
        purge(sink)
    raise AssertionError("five gaps one after the other")


def test_K9_keys_and_keyless_records_land_where_java_puts_them(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic, partitions=7)
    keys = [b'{"id":%d}' % n for n in range(40)] + [b"", b"\xff\x80", bytes(200)]
    records = [Record(topic, key, key, key) for key in keys]
    records += [Record(topic, None, name, name) for name in (b"public.a", b"public.b", b"public.c")]
    records += [Record(topic, key, b"h", key, [("op", b"c")]) for key in keys[:5]]
    with open_sink(kafka.bootstrap) as sink:
        deliver(sink, records)
    for record in kafka.read_all(topic):
        place = record.value if record.key is None else record.key
        assert place is not None
        assert record.partition == partition_of(place, 7)


def test_a_broadcast_reaches_every_partition_in_its_place(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic, partitions=5)
    before, after = numbered(topic, 50, keys=50), numbered(topic, 50, keys=50, start=50)
    truncate = Record(topic, None, b'{"op":"t"}', b"public.t", broadcast=True)
    with open_sink(kafka.bootstrap) as sink:
        tally = deliver(sink, [*before, truncate, *after])
        assert tally.acknowledged == 101
    earlier = {record.value for record in before}
    seen = set()
    for record in kafka.read_all(topic):
        if record.key is None:
            seen.add(record.partition)
        else:
            assert (record.value in earlier) == (record.partition not in seen)
    assert seen == set(range(5))


def test_K9_partitions_added_while_running_are_told(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(topics_module, "_REFRESH_SECONDS", 0.2)
    topic = new_topic()
    kafka.create_topic(topic, partitions=2)
    with open_sink(kafka.bootstrap) as sink:
        deliver(sink, numbered(topic, 5))
        assert sink.partitions == {topic: 2}
        client = admin(kafka)
        client.create_partitions([NewPartitions(topic, 5)])[topic].result(10)
        turn_until(sink, lambda: sink.partitions == {topic: 5})
        deliver(sink, numbered(topic, 100))
    told = capsys.readouterr().err
    assert told.count("kafka-partitions-changed") == 1
    assert topic in told


def test_K3_too_large_for_the_client_is_refused_before_anything_behind_it(kafka: KafkaServer) -> None:
    topic, tally = new_topic(), Tally()
    kafka.create_topic(topic)
    large = Record(topic, b"k", b"secret" * 170_000, b"k")
    records = [*numbered(topic, 3), large, *numbered(topic, 3)]
    with open_sink(kafka.bootstrap) as sink:
        deliver(sink, numbered(topic, 1))
        with pytest.raises(RecordRefused) as caught:
            sink.offer(records, 1, tally)
        assert (caught.value.taken, caught.value.record) == (2, large)
        assert "CDC_KAFKA_MESSAGE_MAX_BYTES" in str(caught.value)
        assert "secret" not in str(caught.value) + caught.value.action
        turn_until(sink, lambda: tally.called == 2)
        deliver(sink, records[4:])
    assert len(kafka.read_all(topic)) == 6


@pytest.mark.parametrize("headers", [None, [("id", b"1")]])
def test_K3_too_large_for_the_topic_is_refused_before_it_is_sent(kafka: KafkaServer, headers: Any) -> None:
    topic = new_topic()
    kafka.create_topic(topic, config={"max.message.bytes": "5000"})
    with open_sink(kafka.bootstrap) as sink:
        deliver(sink, numbered(topic, 1))
        with pytest.raises(RecordRefused, match="5000 bytes at most") as caught:
            sink.offer([Record(topic, b"k", b"x" * 6_000, b"k", headers)], 0, Tally())
        assert caught.value.taken == 0


def test_K3_many_small_records_fit_a_narrow_topic(kafka: KafkaServer) -> None:
    """The limit is for a batch; incompressible ones of the usual size would be refused whole."""
    topic, wide = new_topic(), new_topic("wide")
    kafka.create_topic(topic, config={"max.message.bytes": "3000"})
    kafka.create_topic(wide)
    with open_sink(kafka.bootstrap, compression_type="none", linger_ms="50") as sink:
        deliver(sink, numbered(wide, 100))
        deliver(sink, numbered(topic, 500, padding=100))


def test_K3_a_limit_lowered_while_running_is_learnt_from_the_refusal(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic)
    small, large = numbered(topic, 200, padding=50), Record(topic, b"k", b"y" * 3_000, b"k")
    with open_sink(kafka.bootstrap, compression_type="none", linger_ms="50") as sink:
        deliver(sink, small)
        set_config(kafka, topic, "max.message.bytes", "2000")
        tally = Tally()
        take_all(sink, [*small, large], tally)
        turn_until(sink, lambda: tally.failures)
        assert isinstance(sink.explain(*tally.failures[0]), DeliveryGap)
        purge(sink)
        take_all(sink, small, tally := Tally())
        turn_until(sink, lambda: tally.called == len(small))
        assert tally.failures == []
        with pytest.raises(RecordRefused):
            sink.offer([large], 0, Tally())


def test_K11_a_compacted_topic_takes_no_record_without_a_key(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic, config={"cleanup.policy": "compact"})
    with open_sink(kafka.bootstrap) as sink:
        deliver(sink, [*numbered(topic, 3), Record(topic, b"k", None, b"k")])
        for broadcast in (False, True):
            with pytest.raises(RecordRefused) as caught:
                sink.offer([Record(topic, None, b"v", b"public.t", broadcast=broadcast)], 0, Tally())
            assert caught.value.fault == "kafka-topic-compacted"


def test_K12_headers_come_through_one_by_one(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic)
    headers = [("id", b"1:0/1:%d"), ("op", b"u"), ("op", b""), ("raw", b"\x00\xff")]
    with open_sink(kafka.bootstrap) as sink:
        deliver(sink, [Record(topic, b"k", b"v", b"k", headers), Record(topic, b"k", None, b"k", headers)])
    assert [list(record.headers) for record in kafka.read_all(topic)] == [headers, headers]


def test_zstd_is_a_choice(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic)
    with open_sink(kafka.bootstrap, compression_type="zstd") as sink:
        deliver(sink, numbered(topic, 500, padding=100))
    assert len(kafka.read_all(topic)) == 500


def test_check_tells_about_broker_and_topics(kafka: KafkaServer) -> None:
    good, compacted, missing = new_topic("good"), new_topic("compacted"), new_topic("missing")
    kafka.create_topic(good, partitions=2)
    kafka.create_topic(compacted, config={"cleanup.policy": "compact", "max.message.bytes": "1000"})
    context = make_context(f"kafka://{kafka.bootstrap}", KafkaSettings.model_validate(QUICK))
    (broker,) = CONNECTOR.preflight(context, None)
    assert broker.severity is Severity.OK
    assert "1 broker," in broker.detail
    assert CONNECTOR.check_topics is not None
    found = CONNECTOR.check_topics(context, [good, compacted, missing])
    told = {(finding.severity, finding.subject.split(".")[-1]) for finding in found}
    assert told == {
        (Severity.OK, "good"),
        (Severity.WARNING, "good"),  # one replica
        (Severity.OK, "compacted"),
        (Severity.WARNING, "compacted"),
        (Severity.ERROR, "missing"),
    }
    details = "\n".join(f"{finding.subject}: {finding.detail}" for finding in found)
    assert "2 partitions, 1 replicas, max.message.bytes=1048588" in details
    assert "is compacted" in details
    assert "max.message.bytes is below CDC_KAFKA_MESSAGE_MAX_BYTES" in details
    assert missing not in kafka.topics()
    assert CONNECTOR.check_topics(context, []) == []


# Run as `python -c QUIET <bootstrap> <topic>`: everything that librdkafka may say, and a record and a password to betray.
QUIET = """
import sys
from tests.conformance.driving import Tally, make_context, turn_until
from cdc.model.record import Record
from cdc_kafka.settings import KafkaSettings
from cdc_kafka.sink import KafkaSink
given = {"debug": "all", "log_level": "7", "sasl_mechanism": "PLAIN", "sasl_password": "canary-password"}
given |= {"security_protocol": "PLAINTEXT"}
from cdc.observe.logs import configure
configure("debug", "json")
sink = KafkaSink(make_context(f"kafka://canary-user@{sys.argv[1]}", KafkaSettings.model_validate(given)))
sink.open()
tally = Tally()
record = Record(sys.argv[2], b"canary-key", b"canary-value", b"canary-key", [("h", b"canary-header")])
turn_until(sink, lambda: sink.offer([record], 0, tally))
turn_until(sink, lambda: tally.called)
large = Record(sys.argv[2], b"canary-key", b"canary-value" * 200000, b"canary-key")
try:
    sink.offer([large], 0, tally)
except Exception as refusal:
    print(refusal, file=sys.stderr)
sink.close()
print("delivered", tally.acknowledged)
"""


def test_S8_librdkafka_says_nothing_by_itself_and_betrays_nothing(kafka: KafkaServer) -> None:
    topic = new_topic()
    kafka.create_topic(topic)
    done = subprocess.run(
        [sys.executable, "-c", QUIET, kafka.bootstrap, topic], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "delivered 1\n"
    lines = done.stderr.splitlines()
    assert any("librdkafka reports" in line for line in lines)
    assert [line for line in lines if not line.startswith(("{", "a record of 24"))] == []
    for canary in ("canary-password", "canary-value", "canary-key", "canary-header"):
        assert canary not in done.stderr
