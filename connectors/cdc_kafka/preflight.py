"""What `cdc check` finds out about the broker and the topics, without sending a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaException, libversion
from confluent_kafka.admin import AdminClient

from cdc.errors import SettingsError
from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding, Severity
from cdc.ports import ConnectorContext
from cdc_kafka.configuration import admin_configuration, brokers, configuration, is_loopback, tls_mode, wrong_setting
from cdc_kafka.faults import COMPACTED, TOPIC_DENIED, TOPIC_MISSING, UNREACHABLE, error_in, fault_of
from cdc_kafka.inquiry import Answer, Inquiry
from cdc_kafka.link import LibraryLog, Link
from cdc_kafka.settings import KafkaSettings, variable

_ATTEMPTS: Final = 5
_ATTEMPT_SECONDS: Final = 1.0


def preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    """Can the broker be reached, and is the way to it protected?"""
    try:
        return [_Examination(context).broker(), *_protection(context)]
    except SettingsError as error:
        return [Finding(Severity.ERROR, "kafka", str(error), error.action)]


def check_topics(context: ConnectorContext, topics: Sequence[str]) -> list[Finding]:
    """Are the topics there, may we write to them, and do their settings suit us?"""
    if not topics:
        return []
    try:
        return _Examination(context).topics(topics)
    except SettingsError as error:
        return [Finding(Severity.ERROR, "kafka", str(error), error.action)]


def _protection(context: ConnectorContext) -> list[Finding]:
    far = [broker for broker in brokers(context.url) if not is_loopback(broker)]
    mode = tls_mode(context)
    if not far or mode == "verify-full":
        return []
    detail = f"the connection to {far[0]} is {'plain text' if mode == 'off' else f'protected by tls={mode} only'}"
    return [Finding(Severity.WARNING, "kafka tls", detail, "Set ?tls=verify-full on CDC_SINK.")]


class _Examination:
    """One client, asked some questions."""

    def __init__(self, context: ConnectorContext) -> None:
        self._settings: KafkaSettings = context.settings
        self._config = configuration(context)
        self._link = Link()
        try:
            self._admin = AdminClient(
                admin_configuration(self._config), logger=LibraryLog(self._link), error_cb=self._link.on_error
            )
        except (KafkaException, TypeError, ValueError) as problem:
            raise wrong_setting(problem, self._config) from None
        self._inquiry = Inquiry(self._admin)

    def broker(self) -> Finding:
        for _ in range(_ATTEMPTS):
            try:
                cluster, count = self._inquiry.cluster(_ATTEMPT_SECONDS)
            except KafkaException as problem:
                found = self._unreachable(problem)
            else:
                detail = f"cluster {cluster}, {count} broker{'s' if count != 1 else ''}, librdkafka {libversion()[0]}"
                return Finding(Severity.OK, "kafka", detail)
            if self._link.plain_reason():
                break
        return found

    def topics(self, names: Sequence[str]) -> list[Finding]:
        try:
            answers = self._inquiry.topics(names)
        except KafkaException as problem:
            return [self._unreachable(problem)]
        return [finding for name, answer in answers.items() for finding in self._topic(name, answer)]

    def _unreachable(self, problem: KafkaException) -> Finding:
        self._admin.poll(0)  # the reason lies in its queue of events
        outage = self._link.outage()
        if outage is not None:
            return Finding(Severity.ERROR, "kafka", str(outage), outage.action)
        error = error_in(problem)
        fault = fault_of(error) if error else UNREACHABLE
        return Finding(Severity.ERROR, "kafka", error.str() if error else "no answer", fault.action)

    def _topic(self, name: str, answer: Answer) -> list[Finding]:
        subject = f"topic {name}"
        if answer.error is not None:
            return [self._not_described(subject, name, answer)]
        if answer.writable is False:
            return [Finding(Severity.ERROR, subject, "we may not write to it", TOPIC_DENIED.action)]
        detail = f"{answer.partitions} partitions, {answer.replicas} replicas, {_told(answer.config)}"
        return [Finding(Severity.OK, subject, detail), *self._doubts(subject, name, answer)]

    def _not_described(self, subject: str, name: str, answer: Answer) -> Finding:
        assert answer.error is not None
        fault = fault_of(answer.error)
        if fault is not TOPIC_MISSING:
            return Finding(Severity.ERROR, subject, answer.error.str(), fault.action)
        if self._settings.create_topics:
            return Finding(Severity.OK, subject, "is missing and will be created (CDC_KAFKA_CREATE_TOPICS)")
        fix = f"kafka-topics.sh --bootstrap-server {self._config['bootstrap.servers']} --create --topic {name}"
        return Finding(Severity.ERROR, subject, "does not exist", f"{fix}, or CDC_KAFKA_CREATE_TOPICS=true")

    def _doubts(self, subject: str, name: str, answer: Answer) -> list[Finding]:
        found = []
        alter = f"kafka-configs.sh --bootstrap-server {self._config['bootstrap.servers']} --alter --topic {name}"
        largest = self._config["message.max.bytes"]
        if int(answer.config.get("max.message.bytes", largest)) < int(largest):
            detail = (
                f"max.message.bytes is below {variable('message.max.bytes')}={largest}: a record between is refused"
            )
            fix = f"{alter} --add-config max.message.bytes={largest}"
            found.append(Finding(Severity.WARNING, subject, detail, fix))
        if "compact" in answer.config.get("cleanup.policy", ""):
            detail = "is compacted: changes of a table without a key, and truncates, are refused"
            found.append(Finding(Severity.WARNING, subject, detail, COMPACTED.action))
        return found + _doubts_about_replicas(subject, answer, alter)


def _told(config: dict[str, str]) -> str:
    names = ("max.message.bytes", "cleanup.policy", "min.insync.replicas")
    told = ", ".join(f"{name}={config[name]}" for name in names if name in config)
    return told or "its settings may not be read"


def _doubts_about_replicas(subject: str, answer: Answer, alter: str) -> list[Finding]:
    replicas, least = answer.replicas, int(answer.config.get("min.insync.replicas", "0"))
    if replicas == 1:
        detail = "has one replica: what is acknowledged is lost with that broker's disk"
        return [Finding(Severity.WARNING, subject, detail, "Create it with --replication-factor 3.")]
    if least == 1:
        detail = "min.insync.replicas is 1: a record may be acknowledged by one broker alone, and lost with it"
        return [Finding(Severity.WARNING, subject, detail, f"{alter} --add-config min.insync.replicas=2")]
    if replicas and least >= replicas:
        detail = f"min.insync.replicas is {least} of {replicas}: delivery stops as soon as one broker is down"
        fix = f"{alter} --add-config min.insync.replicas={replicas - 1}"
        return [Finding(Severity.WARNING, subject, detail, fix)]
    return []
