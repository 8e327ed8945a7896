"""The entry point: what the engine learns about this connector."""

from __future__ import annotations

from cdc.ports import Connector
from cdc_kafka.faults import classify
from cdc_kafka.preflight import check_topics, preflight
from cdc_kafka.settings import KafkaSettings
from cdc_kafka.sink import KafkaSink

CONNECTOR = Connector(
    name="kafka",
    schemes=("kafka",),
    settings=KafkaSettings,
    open=KafkaSink,
    preflight=preflight,
    classify=classify,
    check_topics=check_topics,
)
