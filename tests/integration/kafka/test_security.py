"""S1, S6, K8: who the broker is, who we are, what we may do. One broker with TLS, passwords and permissions.

Its second listener (in front of which the suite's proxy stands) is the guarded one; the plain one is the suite's own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its annotations forget to export them
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from cdc.model.finding import Finding, Severity
from cdc_kafka.connector import CONNECTOR
from cdc_kafka.settings import KafkaSettings
from cdc_kafka.sink import KafkaSink
from tests.conformance.driving import Tally, deliver, make_context, numbered, turn_until
from tests.integration.kafka.sinks import QUICK, new_topic, open_sink
from tests.servers.install import java_program
from tests.servers.kafka import KafkaServer
from tests.servers.require import required

STORE_PASSWORD = "keystore"


class Guarded:
    """The broker, what vouches for it, and who may do what."""

    def __init__(self, server: KafkaServer, ca: Path) -> None:
        self.server = server
        self.ca = str(ca)
        self._admin = AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0})

    @property
    def address(self) -> str:
        return self.server.proxied_bootstrap

    def allow(self, topic: str, operation: AclOperation) -> None:
        binding = AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ada", "*", operation, AclPermissionType.ALLOW
        )
        for future in self._admin.create_acls([binding]).values():
            future.result(10)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    with required():
        ca = make_certificate(folder)
        with KafkaServer(guarded_settings(folder), proxied=True) as server:
            yield Guarded(server, ca)


def make_certificate(folder: Path) -> Path:
    """A key store for the broker at 127.0.0.1, and the certificate in it, by the JDK's own tool."""
    java = java_program()
    assert java is not None
    keytool = shutil.which("keytool", path=str(Path(java).resolve().parent)) or "keytool"
    store = ["-keystore", str(folder / "broker.p12"), "-storepass", STORE_PASSWORD, "-alias", "broker"]
    make = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-ext", "bc:c=ca:true"]
    subprocess.run([keytool, *make, "-storetype", "PKCS12", "-validity", "3", *store], check=True, capture_output=True)
    ca = folder / "ca.pem"
    subprocess.run([keytool, "-exportcert", "-rfc", "-file", str(ca), *store], check=True, capture_output=True)
    return ca


def guarded_settings(folder: Path) -> dict[str, str]:
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:SASL_SSL,CONTROLLER:PLAINTEXT",
        "listener.name.proxied.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.proxied.plain.sasl.jaas.config": f'{module} required user_ada="right";',
        "ssl.keystore.location": str(folder / "broker.p12"),
        "ssl.keystore.password": STORE_PASSWORD,
        "ssl.keystore.type": "PKCS12",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def failing(sink: KafkaSink, fault: str) -> str:
    turn_until(sink, lambda: (outage := sink.outage()) is not None and outage.fault == fault)
    assert sink.offer(numbered("t", 1), 0, Tally()) == 0
    return str(sink.outage())


def checked(address: str, tls: str | None, tls_ca: str = "", **given: str) -> Finding:
    settings = KafkaSettings.model_validate({**QUICK, **given})
    return CONNECTOR.preflight(make_context(f"kafka://{address}", settings, tls=tls, tls_ca=tls_ca), None)[0]


def test_S1_delivers_to_a_broker_that_is_who_it_should_be(guarded: Guarded) -> None:
    topic = new_topic()
    guarded.server.create_topic(topic)
    guarded.allow(topic, AclOperation.WRITE)
    address = f"ada@{guarded.address}"
    with open_sink(address, tls="verify-full", tls_ca=guarded.ca, password="right", sasl_mechanism="PLAIN") as sink:
        deliver(sink, numbered(topic, 100))
    found = checked(address, "verify-full", guarded.ca, sasl_password="right", sasl_mechanism="PLAIN")
    assert found.severity is Severity.OK


def test_S1_a_certificate_that_nobody_trusted_vouches_for(guarded: Guarded) -> None:
    with open_sink(f"ada@{guarded.address}", tls="verify-full", password="right", sasl_mechanism="PLAIN") as sink:
        assert "certificate verify failed" in failing(sink, "kafka-tls")


def test_S1_a_certificate_for_another_name(guarded: Guarded) -> None:
    address = f"ada@localhost:{guarded.address.rpartition(':')[2]}"
    with open_sink(address, tls="verify-full", tls_ca=guarded.ca, password="right", sasl_mechanism="PLAIN") as sink:
        failing(sink, "kafka-tls")


def test_a_wrong_password(guarded: Guarded, capfd: pytest.CaptureFixture[str]) -> None:
    address = f"ada@{guarded.address}"
    with open_sink(
        address, tls="verify-full", tls_ca=guarded.ca, password="canary-wrong", sasl_mechanism="PLAIN"
    ) as sink:
        assert "canary" not in failing(sink, "kafka-authentication")
    found = checked(address, "verify-full", guarded.ca, sasl_password="canary-wrong", sasl_mechanism="PLAIN")
    assert found.severity is Severity.ERROR
    assert "uthentication" in found.detail
    assert "CDC_KAFKA_SASL_PASSWORD" in found.fix
    assert "canary" not in "".join(capfd.readouterr()) + found.detail + found.fix


def test_TLS_to_a_plain_port_says_exactly_this(guarded: Guarded) -> None:
    words = "the broker speaks plain text on this port; add ?tls=off"
    with open_sink(guarded.server.bootstrap, tls="verify-full", tls_ca=guarded.ca) as sink:
        assert failing(sink, "kafka-plain-port").startswith(words)
    found = checked(guarded.server.bootstrap, "verify-full", guarded.ca)
    assert found.detail.startswith(words)


def test_plain_text_to_a_TLS_port(guarded: Guarded) -> None:
    with open_sink(guarded.address, tls="off") as sink:
        failing(sink, "kafka-closed-at-once")


def test_K8_permission_denied_is_an_outage_until_it_is_given(guarded: Guarded) -> None:
    topic = new_topic()
    guarded.server.create_topic(topic)
    address = f"ada@{guarded.address}"
    with open_sink(address, tls="verify-full", tls_ca=guarded.ca, password="right", sasl_mechanism="PLAIN") as sink:
        tally = Tally()

        def denied() -> bool:
            assert sink.offer(numbered(topic, 1), 0, tally) == 0
            return (outage := sink.outage()) is not None and outage.fault == "kafka-topic-denied"

        turn_until(sink, denied)
        guarded.allow(topic, AclOperation.DESCRIBE)
        turn_until(sink, lambda: denied() and "may not write" in str(sink.outage()))
        settings = KafkaSettings.model_validate({**QUICK, "sasl_mechanism": "PLAIN", "sasl_password": "right"})
        context = make_context(f"kafka://{address}", settings, tls="verify-full", tls_ca=guarded.ca)
        assert CONNECTOR.check_topics is not None
        assert [each.severity for each in CONNECTOR.check_topics(context, [topic])] == [Severity.ERROR]
        guarded.allow(topic, AclOperation.WRITE)
        deliver(sink, numbered(topic, 10))
        assert sink.outage() is None
        assert tally.called == 0
