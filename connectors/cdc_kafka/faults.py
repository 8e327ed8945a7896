"""What is known about Kafka's errors: one table, which is the documentation too."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException

from cdc.model.finding import Fault

_WAIT: Final = "Delivery goes on by itself."

UNREACHABLE: Final = Fault("kafka-unreachable", True, f"Start the broker, or mend the network or CDC_SINK. {_WAIT}")
PLAIN_PORT: Final = Fault(
    "kafka-plain-port", True, "Add ?tls=off to CDC_SINK to accept plain text, or name the broker's TLS port."
)
CLOSED_AT_ONCE: Final = Fault(
    "kafka-closed-at-once",
    True,
    "If the port wants TLS, remove ?tls=off from CDC_SINK or add ?tls=verify-full; else see that a broker stands behind it.",
)
_RESOLVE: Final = Fault("kafka-unresolved", True, "Correct the host names in CDC_SINK, or mend DNS.")
_TLS: Final = Fault(
    "kafka-tls",
    True,
    "Let the broker show a certificate for the name in CDC_SINK, by an authority that is trusted here.",
)
_LOGIN: Final = Fault(
    "kafka-authentication",
    True,
    "Correct CDC_KAFKA_SASL_MECHANISM, CDC_KAFKA_SASL_USERNAME and CDC_KAFKA_SASL_PASSWORD, or the account.",
)
TOPIC_MISSING: Final = Fault(
    "kafka-topic-missing", True, f"Create the topic, or set CDC_KAFKA_CREATE_TOPICS=true. {_WAIT}"
)
TOPIC_DENIED: Final = Fault("kafka-topic-denied", True, f"Allow WRITE and DESCRIBE on the topic. {_WAIT}")
_CLUSTER_DENIED: Final = Fault(
    "kafka-cluster-denied", True, f"Allow what was refused on the cluster (IDEMPOTENT_WRITE, or CREATE). {_WAIT}"
)
_NOT_CREATED: Final = Fault(
    "kafka-topic-not-created", True, "Correct CDC_KAFKA_PARTITIONS and CDC_KAFKA_REPLICATION, or create the topic."
)
COMPACTED: Final = Fault(
    "kafka-topic-compacted",
    True,
    "Set cleanup.policy=delete on the topic, or give the table a key: a compacted topic takes no record without one.",
)
TOO_LARGE: Final = Fault(
    "kafka-record-too-large",
    False,
    "Raise CDC_KAFKA_MESSAGE_MAX_BYTES and the topic's max.message.bytes, or set CDC_DEAD_LETTER.",
)
INVALID: Final = Fault(
    "kafka-record-invalid", False, "See the broker's log for what it refuses about the record; or set CDC_DEAD_LETTER."
)
BROKEN: Final = Fault("kafka-producer-renewed", True, "Nothing: the producer is made anew and delivery is repeated.")
PURGED: Final = Fault("kafka-purged", True, "Nothing: the record comes again.")
_REPLICAS: Final = Fault("kafka-replicas", True, f"Bring back brokers until min.insync.replicas is met. {_WAIT}")
_STORAGE: Final = Fault("kafka-storage", True, f"Look after the broker's disks. {_WAIT}")
_QUOTA: Final = Fault("kafka-quota", True, f"Raise the quota of this client, or let it wait. {_WAIT}")
_OLD: Final = Fault("kafka-version", False, "Use a broker of version 0.11 or later: it must know idempotent producers.")
_CONFIGURATION: Final = Fault("kafka-settings", False, "Correct the CDC_KAFKA_ variable that the message names.")
UNKNOWN: Final = Fault("kafka-error", True, f"Look the error up in the broker's documentation. {_WAIT}")

FAULTS: Final[dict[int, Fault]] = {
    KafkaError._TRANSPORT: UNREACHABLE,
    KafkaError._ALL_BROKERS_DOWN: UNREACHABLE,
    KafkaError._TIMED_OUT: UNREACHABLE,
    KafkaError._TIMED_OUT_QUEUE: UNREACHABLE,
    KafkaError.NETWORK_EXCEPTION: UNREACHABLE,
    KafkaError.REQUEST_TIMED_OUT: UNREACHABLE,
    KafkaError.LEADER_NOT_AVAILABLE: UNREACHABLE,
    KafkaError._RESOLVE: _RESOLVE,
    KafkaError._SSL: _TLS,
    KafkaError._AUTHENTICATION: _LOGIN,
    KafkaError.SASL_AUTHENTICATION_FAILED: _LOGIN,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: _LOGIN,
    KafkaError.ILLEGAL_SASL_STATE: _LOGIN,
    KafkaError._UNKNOWN_TOPIC: TOPIC_MISSING,
    KafkaError._UNKNOWN_PARTITION: TOPIC_MISSING,
    KafkaError.UNKNOWN_TOPIC_OR_PART: TOPIC_MISSING,
    KafkaError.UNKNOWN_TOPIC_ID: TOPIC_MISSING,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: TOPIC_DENIED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _CLUSTER_DENIED,
    KafkaError.TOPIC_EXCEPTION: _NOT_CREATED,
    KafkaError.INVALID_PARTITIONS: _NOT_CREATED,
    KafkaError.INVALID_REPLICATION_FACTOR: _NOT_CREATED,
    KafkaError.POLICY_VIOLATION: _NOT_CREATED,
    KafkaError.MSG_SIZE_TOO_LARGE: TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE: TOO_LARGE,
    KafkaError.INVALID_RECORD: INVALID,
    KafkaError._INVALID_DIFFERENT_RECORD: INVALID,
    KafkaError.INVALID_MSG: INVALID,
    KafkaError.INVALID_TIMESTAMP: INVALID,
    KafkaError._FATAL: BROKEN,
    KafkaError._FENCED: BROKEN,
    KafkaError._GAPLESS_GUARANTEE: BROKEN,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER: BROKEN,
    KafkaError.DUPLICATE_SEQUENCE_NUMBER: BROKEN,
    KafkaError.INVALID_PRODUCER_EPOCH: BROKEN,
    KafkaError.INVALID_PRODUCER_ID_MAPPING: BROKEN,
    KafkaError.UNKNOWN_PRODUCER_ID: BROKEN,
    KafkaError.PRODUCER_FENCED: BROKEN,
    KafkaError._PURGE_QUEUE: PURGED,
    KafkaError._PURGE_INFLIGHT: PURGED,
    KafkaError.NOT_ENOUGH_REPLICAS: _REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: _REPLICAS,
    KafkaError.KAFKA_STORAGE_ERROR: _STORAGE,
    KafkaError.THROTTLING_QUOTA_EXCEEDED: _QUOTA,
    KafkaError.UNSUPPORTED_VERSION: _OLD,
    KafkaError._UNSUPPORTED_FEATURE: _OLD,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: _OLD,
    KafkaError._INVALID_ARG: _CONFIGURATION,
}


def fault_of(error: KafkaError) -> Fault:
    """What is known about an error that librdkafka reports. Some are told apart by its words only."""
    text = error.str()
    if "connecting to a PLAINTEXT broker listener" in text or (
        "SSL connection closed by peer" in text and "SSL_HANDSHAKE" in text
    ):
        return PLAIN_PORT
    if "Disconnected" in text and "APIVERSION_QUERY" in text:  # as a TLS port does when it is spoken to in plain text
        return CLOSED_AT_ONCE
    return FAULTS.get(error.code(), UNKNOWN)


def classify(exception: BaseException) -> Fault | None:
    """What is known about an exception of confluent-kafka; None for anything else."""
    if not isinstance(exception, KafkaException):
        return None
    error = error_in(exception)
    return fault_of(error) if error else UNKNOWN


def error_in(exception: KafkaException) -> KafkaError | None:
    first = exception.args[0] if exception.args else None
    return first if isinstance(first, KafkaError) else None
