"""The producer's configuration: what we insist on, what the address asks for, what the user set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from confluent_kafka import KafkaException

from cdc.errors import SettingsError
from cdc.observe.logs import register_secret
from cdc.ports import ConnectorContext
from cdc_kafka.faults import error_in
from cdc_kafka.settings import ALIASES, KafkaSettings, properties, variable

PORT: Final = 9092
MESSAGE_MAX_BYTES: Final = 1_000_000
BATCH_SIZE: Final = 1_000_000
# What a queued message costs besides its bytes, about: bounds memory where records are small.
_OVERHEAD: Final = 256

INSISTED: Final[dict[str, str]] = {
    "enable.idempotence": "true",
    "acks": "all",
    "message.timeout.ms": "0",
    "partitioner": "murmur2",
}
DEFAULTS: Final[dict[str, str]] = {
    "linger.ms": "5",
    "compression.type": "lz4",
    "message.max.bytes": str(MESSAGE_MAX_BYTES),
    "batch.size": str(BATCH_SIZE),
    "socket.keepalive.enable": "true",
    # A topic that is missing is created by us, on purpose and as told, or not at all.
    "allow.auto.create.topics": "false",
}
_TLS_MODES: Final[dict[str, dict[str, str]]] = {
    "verify-full": {"enable.ssl.certificate.verification": "true", "ssl.endpoint.identification.algorithm": "https"},
    "verify-ca": {"enable.ssl.certificate.verification": "true", "ssl.endpoint.identification.algorithm": "none"},
    "require": {"enable.ssl.certificate.verification": "false", "ssl.endpoint.identification.algorithm": "none"},
}
_OWN_CA: Final = ("ssl.ca.location", "ssl.ca.pem", "ssl.keystore.location")


def configuration(context: ConnectorContext) -> dict[str, str]:
    """Everything but callbacks; the same for the producer and for the client that asks about topics."""
    given = properties(context.settings)
    merged = {"client.id": f"cdc-{context.name}", **DEFAULTS, **_creation(context.settings), **given, **INSISTED}
    merged["bootstrap.servers"] = ",".join(brokers(context.url))
    merged |= _login(context, given)
    merged |= _security(context, merged, given)
    return merged | _bounds(context.memory, merged["message.max.bytes"])


def _creation(settings: KafkaSettings) -> dict[str, str]:
    """Where the broker's defaults will do for new topics, asking for one may create it: not every broker knows more."""
    plain = settings.create_topics and settings.partitions is None and settings.replication is None
    return {"allow.auto.create.topics": "true"} if plain else {}


def admin_configuration(config: Mapping[str, str]) -> dict[str, str | int | float | bool]:
    """For a client that only asks: it needs no producer id, and its connection troubles are the producer's too."""
    return {**config, "enable.idempotence": "false", "log_level": "0"}


def brokers(url: str) -> list[str]:
    """`kafka://[user@]host[:port][,host2[:port2]]` as host:port, each."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if parts.query or parts.fragment or parts.path not in ("", "/") or not all(hosts):
        raise _wrong_url("expected kafka://host:9092[,host2:9092]")
    return [_with_port(host) for host in hosts]


def _with_port(host: str) -> str:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", host)
    if not found or not 0 < int(found[2] or PORT) < 1 << 16:
        raise _wrong_url("a broker is written host:port")
    return f"{found[1]}:{found[2] or PORT}"


def _wrong_url(why: str) -> SettingsError:
    return SettingsError(f"CDC_SINK: {why}", fault="sink-url", action="Correct CDC_SINK.")


def is_loopback(broker: str) -> bool:
    host = broker.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def tls_mode(context: ConnectorContext) -> str:
    """As asked for; else none where all brokers are on this machine, and full verification otherwise."""
    here = all(is_loopback(broker) for broker in brokers(context.url))
    return context.tls or ("off" if here else "verify-full")


def _login(context: ConnectorContext, given: Mapping[str, str]) -> dict[str, str]:
    user = unquote(urlsplit(context.url).netloc.rpartition("@")[0])
    password = _password(context)
    login = {"sasl.username": user} if user else {}
    if password is not None:
        register_secret(password)
        login["sasl.password"] = password
    if login and "sasl.mechanism" not in given:
        raise SettingsError(
            "CDC_SINK: user and password need a mechanism to log in with",
            fault="kafka-settings",
            action="Set CDC_KAFKA_SASL_MECHANISM to what the broker offers: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.",
        )
    return login


def _password(context: ConnectorContext) -> str | None:
    settings: KafkaSettings = context.settings
    if context.password and settings.sasl_password:
        raise SettingsError(
            "CDC_KAFKA_SASL_PASSWORD is given although CDC_SINK holds a password too",
            fault="kafka-settings",
            action="Remove one of them.",
        )
    secret = context.password or settings.sasl_password
    return secret.get_secret_value() if secret else None


def _security(context: ConnectorContext, merged: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    if "security.protocol" in given:
        return _own_protocol(context, given)
    mode = tls_mode(context)
    login = "SASL_" if "sasl.mechanism" in merged else ""
    if mode == "off":
        return {"security.protocol": f"{login}PLAINTEXT"}
    return {"security.protocol": f"{login}SSL", **_verification(context, mode, given)}


def _own_protocol(context: ConnectorContext, given: Mapping[str, str]) -> dict[str, str]:
    """The user's word holds, unless it contradicts the URL's."""
    protected = "SSL" in given["security.protocol"].upper()
    if context.tls and protected != (context.tls != "off"):
        raise SettingsError(
            f"CDC_KAFKA_SECURITY_PROTOCOL contradicts tls={context.tls} in CDC_SINK",
            fault="kafka-settings",
            action="Remove CDC_KAFKA_SECURITY_PROTOCOL.",
        )
    return _verification(context, context.tls or "verify-full", given) if protected else {}


def _verification(context: ConnectorContext, mode: str, given: Mapping[str, str]) -> dict[str, str]:
    chosen = dict(_TLS_MODES[mode]) if context.tls else {**_TLS_MODES[mode], **given}
    chosen = {name: value for name, value in chosen.items() if name in _TLS_MODES[mode]}
    if context.tls_ca and not any(name in given for name in _OWN_CA):
        chosen["ssl.ca.location"] = context.tls_ca
    return chosen


def _bounds(memory: int, largest: str) -> dict[str, str]:
    """A queue smaller than the largest record would never take it."""
    room = max(memory, int(largest) if largest.isdecimal() else 0)
    return {
        "queue.buffering.max.kbytes": str(min(room // 1024 + 1, (1 << 31) - 1)),
        "queue.buffering.max.messages": str(max(1000, room // _OVERHEAD)),
    }


def wrong_setting(problem: KafkaException | TypeError | ValueError, config: Mapping[str, Any]) -> SettingsError:
    """librdkafka's verdict on the configuration, with the variable that it is about."""
    error = error_in(problem) if isinstance(problem, KafkaException) else None
    text = _without_secrets(error.str() if error else str(problem), config).strip()
    words = re.findall(r"[a-z][a-z0-9]*(?:\.[a-z0-9]+)+|(?<=\")[a-z0-9]+(?=\")", text)
    named = [word for word in words if word in _known(config)]
    names = ", ".join(dict.fromkeys(variable(_first_name(name, config)) for name in named))
    return SettingsError(
        f"{names or 'CDC_KAFKA_…'}: {text}",
        fault="kafka-settings",
        action=f"Correct {names or 'the variable'}; see librdkafka's CONFIGURATION.md for what it takes.",
    )


def _known(config: Mapping[str, Any]) -> set[str]:
    return {*config, *ALIASES}


def _first_name(name: str, config: Mapping[str, Any]) -> str:
    return name if name in config else ALIASES.get(name, name)


def _without_secrets(text: str, config: Mapping[str, Any]) -> str:
    for name, value in config.items():
        if isinstance(value, str) and value and name.rpartition(".")[2] in ("password", "pem", "secret", "token"):
            text = text.replace(value, "***")
    return text
