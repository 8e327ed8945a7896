"""What can be set: a few variables of ours, and every property of librdkafka as `CDC_KAFKA_<PROPERTY_WITH_UNDERSCORES>`.

A property that would break a promise is refused with the reason. What a property means, and whether its value is sound,
is librdkafka's to say; its verdict names the variable (see `configuration.py`).
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from cdc.errors import SettingsError

_IN_ORDER: Final = "each key's order and delivery without gaps depend on the idempotent producer"
_PROVED: Final = "a record counts as delivered only when all in-sync replicas have it"
_ENDLESS: Final = "a record that is given up is a gap; we wait for the broker as long as it takes"
_BUDGET: Final = "the queue is bounded by CDC_MEMORY"
_PLACE: Final = "keys must land where Java clients put them, after every restart"
_ADDRESS: Final = "brokers are named in CDC_SINK"
_FOREIGN_CODE: Final = "no code is loaded by way of settings"
_TRANSACTIONS: Final = "transactions are not used: delivery is at least once"
_REPORTS: Final = "every acknowledgement must reach us"
_CALLBACK: Final = "it is no text but a function"
_TEST: Final = "it would replace the broker by an imitation, and every record would be lost"

REFUSED: Final[dict[str, str]] = {
    "enable.idempotence": _IN_ORDER,
    "enable.gapless.guarantee": _IN_ORDER,
    "queuing.strategy": _IN_ORDER,
    "acks": _PROVED,
    "request.required.acks": _PROVED,
    "message.timeout.ms": _ENDLESS,
    "delivery.timeout.ms": _ENDLESS,
    "retries": _ENDLESS,
    "message.send.max.retries": _ENDLESS,
    "queue.buffering.max.kbytes": _BUDGET,
    "queue.buffering.max.messages": _BUDGET,
    "partitioner": _PLACE,
    "bootstrap.servers": _ADDRESS,
    "metadata.broker.list": _ADDRESS,
    "plugin.library.paths": _FOREIGN_CODE,
    "ssl.engine.location": _FOREIGN_CODE,
    "transactional.id": _TRANSACTIONS,
    "transaction.timeout.ms": _TRANSACTIONS,
    "delivery.report.only.error": _REPORTS,
    "default.topic.config": _CALLBACK,
    "on.delivery": _CALLBACK,
    "logger": _CALLBACK,
    "opaque": _CALLBACK,
}
_IN_FLIGHT: Final = ("max.in.flight", "max.in.flight.requests.per.connection")
_MOST_IN_FLIGHT: Final = 5  # the broker remembers the last five batches of an idempotent producer

# Other names of the same property: what the user writes must replace our default, not stand beside it.
ALIASES: Final[dict[str, str]] = {
    "queue.buffering.max.ms": "linger.ms",
    "compression.codec": "compression.type",
    "sasl.mechanisms": "sasl.mechanism",
    "log.level": "log_level",  # the one whose name has an underscore
    "max.in.flight": "max.in.flight.requests.per.connection",
}


class KafkaSettings(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    create_topics: bool = Field(
        default=False,
        description="Create topics that are missing. Without it a missing topic is an outage until somebody creates it.",
    )
    partitions: int | None = Field(
        default=None, ge=1, description="Partitions of topics that are created. Without it: the broker's default."
    )
    replication: int | None = Field(
        default=None, ge=1, description="Replicas of topics that are created. Without it: the broker's default."
    )
    sasl_password: SecretStr | None = Field(
        default=None, description="The password of the user in `CDC_SINK` or `CDC_KAFKA_SASL_USERNAME`."
    )


def variable(property_name: str) -> str:
    return f"CDC_KAFKA_{property_name.upper().replace('.', '_')}"


def properties(settings: KafkaSettings) -> dict[str, str]:
    """librdkafka's properties as the user set them, by their first names; SettingsError for one that is refused."""
    given: dict[str, str] = {}
    for field, value in (settings.model_extra or {}).items():
        name = field.replace("_", ".")
        _check(name, text := value.get_secret_value() if isinstance(value, SecretStr) else str(value))
        name = ALIASES.get(name, name)
        if given.setdefault(name, text) != text:
            raise _refusal(name, "it is given twice, under two names, with different values")
    return given


def _check(name: str, value: str) -> None:
    if name.endswith(".cb"):
        raise _refusal(name, _CALLBACK)
    if name.startswith("test."):
        raise _refusal(name, _TEST)
    if name in REFUSED:
        raise _refusal(name, REFUSED[name])
    if name in _IN_FLIGHT and value.strip().isdecimal() and int(value) > _MOST_IN_FLIGHT:
        raise _refusal(name, f"above {_MOST_IN_FLIGHT}, {_IN_ORDER}")


def _refusal(name: str, reason: str) -> SettingsError:
    return SettingsError(
        f"{variable(name)} cannot be set: {reason}",
        fault="kafka-settings-refused",
        action=f"Remove {variable(name)}.",
    )
