"""What `cdc check` finds out about the broker and the topics, without sending a record."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection, libversion
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its annotations forget to export them
    AclOperation,
    AdminClient,
    ConfigResource,
    ResourceType,
)

from cdc.errors import SettingsError
from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Fault, Finding, Severity
from cdc.ports import ConnectorContext
from cdc_kafka.configuration import admin_configuration, brokers, configuration, is_loopback, tls_mode, wrong_setting
from cdc_kafka.faults import COMPACTED, TOPIC_DENIED, TOPIC_MISSING, UNKNOWN, UNREACHABLE, error_in, fault_of
from cdc_kafka.link import LibraryLog, Link
from cdc_kafka.settings import KafkaSettings, variable

_SECONDS: Final = 10.0


def preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    """Can the broker be reached, and is the way to it protected?"""
    try:
        inquiry = _Inquiry(context)
    except SettingsError as error:
        return [Finding(Severity.ERROR, "kafka", str(error), error.action)]
    return [inquiry.broker(), *_protection(context)]


def check_topics(context: ConnectorContext, topics: Sequence[str]) -> list[Finding]:
    """Are the topics there, may we write to them, and do their settings suit us?"""
    if not topics:
        return []
    try:
        return _Inquiry(context).topics(topics)
    except SettingsError as error:
        return [Finding(Severity.ERROR, "kafka", str(error), error.action)]


def _protection(context: ConnectorContext) -> list[Finding]:
    far = [broker for broker in brokers(context.url) if not is_loopback(broker)]
    mode = tls_mode(context)
    if not far or mode == "verify-full":
        return []
    detail = f"the connection to {far[0]} is {'plain text' if mode == 'off' else f'protected by tls={mode} only'}"
    return [Finding(Severity.WARNING, "kafka tls", detail, "Set ?tls=verify-full on CDC_SINK.")]


class _Inquiry:
    """One client, asked some questions."""

    def __init__(self, context: ConnectorContext) -> None:
        self._settings: KafkaSettings = context.settings
        self._config = configuration(context)
        self._link = Link()
        config = {**admin_configuration(self._config), "error_cb": self._link.on_error}
        try:
            self._admin = AdminClient(config, logger=LibraryLog(self._link))  # type: ignore[arg-type] # a callback
        except (KafkaException, TypeError, ValueError) as problem:
            raise wrong_setting(problem, self._config) from None

    def broker(self) -> Finding:
        future = self._admin.describe_cluster(request_timeout=_SECONDS)
        if (fault := self._fault(future)) is not None:
            return self._unreachable(fault)
        cluster = future.result()
        count = len(cluster.nodes)
        detail = f"cluster {cluster.cluster_id}, {count} broker{'s' * (count != 1)}, librdkafka {libversion()[0]}"
        return Finding(Severity.OK, "kafka", detail)

    def _unreachable(self, fault: Fault) -> Finding:
        self._admin.poll(0)  # the reason lies in its queue of events
        outage = self._link.outage()
        if outage is not None:
            return Finding(Severity.ERROR, "kafka", str(outage), outage.action)
        return Finding(Severity.ERROR, "kafka", f"no answer within {_SECONDS:g} s ({fault.name})", fault.action)

    def topics(self, names: Sequence[str]) -> list[Finding]:
        described = self._admin.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=_SECONDS
        )
        if all(self._fault(future) is UNREACHABLE for future in described.values()):
            return [self._unreachable(UNREACHABLE)]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        configs = self._admin.describe_configs(resources, request_timeout=_SECONDS)
        by_name = {resource.name: future for resource, future in configs.items()}
        return [finding for name in names for finding in self._topic(name, described[name], by_name[name])]

    def _topic(self, name: str, described: Future[Any], configured: Future[Any]) -> list[Finding]:
        subject = f"topic {name}"
        fault = self._fault(described)
        if fault is TOPIC_MISSING:
            return [self._missing(subject, name)]
        if fault is not None:
            return [Finding(Severity.ERROR, subject, f"cannot be described ({fault.name})", fault.action)]
        topic = described.result()
        operations = set(topic.authorized_operations or ())
        if operations and not operations & {AclOperation.WRITE, AclOperation.ALL}:
            return [Finding(Severity.ERROR, subject, "we may not write to it", TOPIC_DENIED.action)]
        config = {} if self._fault(configured) else {n: e.value or "" for n, e in configured.result().items()}
        replicas = min((len(partition.replicas) for partition in topic.partitions), default=0)
        detail = f"{len(topic.partitions)} partitions, {replicas} replicas, {_told(config)}"
        return [Finding(Severity.OK, subject, detail), *self._doubts(subject, name, config, replicas)]

    def _missing(self, subject: str, name: str) -> Finding:
        if self._settings.create_topics:
            return Finding(Severity.OK, subject, "is missing and will be created (CDC_KAFKA_CREATE_TOPICS)")
        fix = f"kafka-topics.sh --bootstrap-server {self._config['bootstrap.servers']} --create --topic {name}"
        return Finding(Severity.ERROR, subject, "does not exist", f"{fix}, or CDC_KAFKA_CREATE_TOPICS=true")

    def _doubts(self, subject: str, name: str, config: dict[str, str], replicas: int) -> list[Finding]:
        found = []
        alter = f"kafka-configs.sh --bootstrap-server {self._config['bootstrap.servers']} --alter --topic {name}"
        largest = self._config["message.max.bytes"]
        if int(config.get("max.message.bytes", largest)) < int(largest):
            detail = (
                f"max.message.bytes is below {variable('message.max.bytes')}={largest}: a record between is refused"
            )
            found.append(
                Finding(Severity.WARNING, subject, detail, f"{alter} --add-config max.message.bytes={largest}")
            )
        if "compact" in config.get("cleanup.policy", ""):
            detail = "is compacted: changes of a table without a key, and truncates, are refused"
            found.append(Finding(Severity.WARNING, subject, detail, COMPACTED.action))
        if replicas == 1:
            detail = "has one replica: what is acknowledged is lost with that broker's disk"
            fix = "Create it with --replication-factor 3."
            found.append(Finding(Severity.WARNING, subject, detail, fix))
        return found + _doubt_about_replicas(subject, config, replicas, alter)

    def _fault(self, future: Future[Any]) -> Fault | None:
        """Why there is no answer; waits for it."""
        try:
            problem = future.exception(_SECONDS + 1)
        except TimeoutError:
            return UNREACHABLE
        if problem is None:
            return None
        error = error_in(problem) if isinstance(problem, KafkaException) else None
        return fault_of(error) if error else UNKNOWN


def _told(config: dict[str, str]) -> str:
    if not config:
        return "its settings may not be read"
    names = ("max.message.bytes", "cleanup.policy", "min.insync.replicas")
    return ", ".join(f"{name}={config[name]}" for name in names if name in config)


def _doubt_about_replicas(subject: str, config: dict[str, str], replicas: int, alter: str) -> list[Finding]:
    least = int(config.get("min.insync.replicas", "0"))
    if replicas < 2 or not least:
        return []
    if least == 1:
        detail = "min.insync.replicas is 1: a record may be acknowledged by one broker alone, and lost with it"
        return [Finding(Severity.WARNING, subject, detail, f"{alter} --add-config min.insync.replicas=2")]
    if least >= replicas:
        detail = f"min.insync.replicas is {least} of {replicas}: delivery stops as soon as one broker is down"
        fix = f"{alter} --add-config min.insync.replicas={replicas - 1}"
        return [Finding(Severity.WARNING, subject, detail, fix)]
    return []
