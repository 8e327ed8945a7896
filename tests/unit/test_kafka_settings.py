"""K1, K2, S1, S8: what the user may set about Kafka, what is refused and why, and what librdkafka is told in the end."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException

from cdc.errors import SettingsError
from cdc_kafka.configuration import admin_configuration, brokers, configuration, is_loopback
from cdc_kafka.faults import FAULTS, PLAIN_PORT, UNKNOWN, classify, fault_of
from cdc_kafka.settings import REFUSED, KafkaSettings, properties, variable
from cdc_kafka.sink import KafkaSink
from tests.conformance.driving import make_context

LOCAL = "kafka://127.0.0.1:1"


def config_of(url: str = LOCAL, tls: str | None = None, tls_ca: str = "", **given: str) -> dict[str, str]:
    return configuration(make_context(url, KafkaSettings.model_validate(given), tls=tls, tls_ca=tls_ca))


def opened(**given: str) -> None:
    sink = KafkaSink(make_context(LOCAL, KafkaSettings.model_validate(given)))
    sink.open()
    sink.close()


def test_defaults_keep_the_promises() -> None:
    config = config_of()
    assert config["enable.idempotence"] == "true"
    assert config["acks"] == "all"
    assert config["message.timeout.ms"] == "0"
    assert config["partitioner"] == "murmur2"
    assert config["compression.type"] == "lz4"
    assert config["linger.ms"] == "5"
    assert config["allow.auto.create.topics"] == "false"
    assert config["bootstrap.servers"] == "127.0.0.1:1"
    opened()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_K2_a_property_that_breaks_a_promise_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        config_of(**{name.replace(".", "_"): "1"})
    assert str(caught.value) == f"{variable(name)} cannot be set: {REFUSED[name]}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["test_mock_num_brokers", "error_cb", "dr_msg_cb", "oauth_cb", "stats_cb"])
def test_imitations_and_functions_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"CDC_KAFKA_{name.upper()} cannot be set"):
        config_of(**{name: "1"})


@pytest.mark.parametrize("name", ["max_in_flight", "max_in_flight_requests_per_connection"])
def test_K1_more_than_five_in_flight_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="above 5"):
        config_of(**{name: "6"})
    opened(**{name: "5"})


def test_a_promise_cannot_be_broken_under_another_name(tmp_path: Path) -> None:
    """librdkafka's own list of properties: what is another name of a refused property is refused too."""
    listed = list_properties(tmp_path / "properties")
    aliases = re.findall(r"^([a-z.]+) .*Alias for `([a-z.]+)`", listed, re.MULTILINE)
    assert ("acks", "request.required.acks") in aliases
    for one, other in aliases:
        assert (one in REFUSED) == (other in REFUSED)
    names = set(re.findall(r"^([a-z.]+) ", listed, re.MULTILINE))
    assert {name for name in REFUSED if "." in name} - names <= {"on.delivery", "default.topic.config"}


def list_properties(path: Path) -> str:
    """The table that librdkafka prints of itself, from the library inside the wheel."""
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library, system = ctypes.CDLL(str(next(folder.glob("librdkafka*")))), ctypes.CDLL(None)
    system.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(system.fopen(os.fsencode(path), b"w"))
    library.rd_kafka_conf_properties_show(file)
    system.fclose(file)
    return path.read_text()


def test_an_alias_replaces_our_default() -> None:
    assert config_of(queue_buffering_max_ms="50")["linger.ms"] == "50"
    assert config_of(compression_codec="zstd")["compression.type"] == "zstd"
    with pytest.raises(SettingsError, match="given twice"):
        config_of(queue_buffering_max_ms="50", linger_ms="20")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"linger_mss": "5"}, "CDC_KAFKA_LINGER_MSS"),
        ({"linger_ms": "soon"}, "CDC_KAFKA_LINGER_MS"),
        ({"linger_ms": "-5"}, "CDC_KAFKA_LINGER_MS"),
        ({"compression_type": "best"}, "CDC_KAFKA_COMPRESSION_TYPE"),
        ({"message_max_bytes": "2000000000"}, "CDC_KAFKA_MESSAGE_MAX_BYTES"),
        ({"batch_size": "many"}, "CDC_KAFKA_BATCH_SIZE"),
        ({"message_max_bytes": "many"}, "CDC_KAFKA_MESSAGE_MAX_BYTES"),
        ({"ssl_ca_location": "/nowhere", "security_protocol": "SSL"}, "CDC_KAFKA_SSL_CA_LOCATION"),
        ({"socket_timeout_ms": ""}, "CDC_KAFKA_SOCKET_TIMEOUT_MS"),
        ({"debug": "nothing"}, "CDC_KAFKA_DEBUG"),
        ({"sasl_mechanism": "GUESS"}, "CDC_KAFKA_"),
    ],
)
def test_librdkafkas_verdict_names_the_variable(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=f"^{named}") as caught:
        opened(**given)
    assert caught.value.exit_code == 2


def test_S8_no_secret_stands_in_the_verdict() -> None:
    given = {"ssl_key_pem": "canary-pem", "ssl_certificate_pem": "canary-pem", "security_protocol": "SSL"}
    with pytest.raises(SettingsError) as caught:
        opened(**given)
    assert "canary" not in str(caught.value) + caught.value.action
    assert caught.value.__suppress_context__


def test_S1_another_host_is_verified_unless_told_otherwise() -> None:
    config = config_of("kafka://broker.example:9093", tls_ca="/etc/ca.pem")
    assert config["security.protocol"] == "SSL"
    assert config["enable.ssl.certificate.verification"] == "true"
    assert config["ssl.endpoint.identification.algorithm"] == "https"
    assert config["ssl.ca.location"] == "/etc/ca.pem"
    assert config_of("kafka://broker.example", tls="off")["security.protocol"] == "PLAINTEXT"
    assert config_of("kafka://127.0.0.1")["security.protocol"] == "PLAINTEXT"
    assert config_of("kafka://127.0.0.1", tls="verify-full")["security.protocol"] == "SSL"
    assert config_of("kafka://127.0.0.1,broker.example")["security.protocol"] == "SSL"


def test_S1_weaker_ways_are_asked_for_by_name() -> None:
    ca_only = config_of("kafka://broker.example", tls="verify-ca")
    assert ca_only["ssl.endpoint.identification.algorithm"] == "none"
    assert ca_only["enable.ssl.certificate.verification"] == "true"
    assert config_of("kafka://broker.example", tls="require")["enable.ssl.certificate.verification"] == "false"


def test_a_ca_of_the_users_own_is_kept() -> None:
    config = config_of("kafka://broker.example", tls_ca="/etc/ca.pem", ssl_ca_location="/mine.pem")
    assert config["ssl.ca.location"] == "/mine.pem"


def test_the_users_protocol_holds_unless_the_url_says_the_contrary() -> None:
    assert config_of("kafka://broker.example", security_protocol="PLAINTEXT")["security.protocol"] == "PLAINTEXT"
    with pytest.raises(SettingsError, match="contradicts tls=verify-full"):
        config_of("kafka://broker.example", tls="verify-full", security_protocol="PLAINTEXT")


def test_login() -> None:
    settings = KafkaSettings.model_validate({"sasl_password": "hunter2", "sasl_mechanism": "PLAIN"})
    config = configuration(make_context("kafka://ada%40x@broker.example", settings))
    assert config["sasl.username"] == "ada@x"
    assert config["sasl.password"] == "hunter2"
    assert config["security.protocol"] == "SASL_SSL"
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError, match="mechanism"):
        config_of("kafka://ada@broker.example")
    with pytest.raises(SettingsError, match="holds a password too"):
        configuration(make_context("kafka://ada@broker.example", settings, password="other"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("kafka://a", ["a:9092"]),
        ("kafka://a:1,b,c:3", ["a:1", "b:9092", "c:3"]),
        ("kafka://[::1]:5,[fe80::1]", ["[::1]:5", "[fe80::1]:9092"]),
        ("kafka://ada@a:1/", ["a:1"]),
    ],
)
def test_brokers(url: str, expected: list[str]) -> None:
    assert brokers(url) == expected


@pytest.mark.parametrize(
    "url",
    ["kafka://", "kafka://a,", "kafka://a:x", "kafka://a:0", "kafka://a:70000", "kafka://a/topic", "kafka://a?x=1"],
)
def test_a_wrong_address_is_wrong_settings(url: str) -> None:
    with pytest.raises(SettingsError, match="CDC_SINK"):
        brokers(url)


@pytest.mark.parametrize(
    ("broker", "local"),
    [
        ("localhost:1", True),
        ("127.0.0.9:1", True),
        ("[::1]:1", True),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_loopback(broker: str, local: bool) -> None:
    assert is_loopback(broker) is local


def test_X7_the_queue_is_bounded_in_bytes_and_takes_the_largest_record() -> None:
    config = configuration(make_context(LOCAL, KafkaSettings(), memory=64 << 20))
    assert int(config["queue.buffering.max.kbytes"]) == (64 << 10) + 1
    assert int(config["queue.buffering.max.messages"]) == (64 << 20) // 256
    large = KafkaSettings.model_validate({"message_max_bytes": "50000000"})
    assert (
        int(configuration(make_context(LOCAL, large, memory=1 << 20))["queue.buffering.max.kbytes"]) * 1024 > 50_000_000
    )


def test_who_only_asks_needs_no_producer_id() -> None:
    assert admin_configuration(config_of())["enable.idempotence"] == "false"


def test_extras_are_the_only_way_to_a_property_and_keep_their_text() -> None:
    settings = KafkaSettings.model_validate({"linger_ms": "7", "create_topics": "true", "partitions": "3"})
    assert properties(settings) == {"linger.ms": "7"}
    assert (settings.create_topics, settings.partitions, settings.replication) == (True, 3, None)


def test_classify_knows_kafkas_errors_only() -> None:
    assert classify(ValueError("x")) is None
    found = classify(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    assert found is not None
    assert found.name == "kafka-topic-denied"
    assert classify(KafkaException("odd")) is UNKNOWN


def test_a_plain_port_is_recognised_by_what_librdkafka_says() -> None:
    text = "ssl://h:1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"
    assert fault_of(KafkaError(KafkaError._TRANSPORT, text)) is PLAIN_PORT


def test_every_fault_says_what_to_do_and_has_a_name_of_its_own() -> None:
    faults = set(FAULTS.values())
    assert len({fault.name for fault in faults}) == len(faults)
    assert all(fault.action.endswith((".", ",")) and re.fullmatch(r"kafka-[a-z-]+", fault.name) for fault in faults)
