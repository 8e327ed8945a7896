"""A real Kafka broker (KRaft, one node) that belongs to the suite.

Starting from nothing would run a JVM twice. The formatted folder is made once and copied with a cluster id of its own,
and the JVM maps an archive of the classes that the first start had loaded: one second instead of three.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.servers.catalogue import KAFKA
from tests.servers.install import UnavailableError, build_once, install_kafka, java_program
from tests.servers.process import LocalServer, ServerError, free_port, plain_environment, settings_text
from tests.servers.proxy import Proxy

START_SECONDS = 60.0
STOP_SECONDS = 30.0
ANSWER_SECONDS = 10.0
ARCHIVE = "classes.jsa"
JVM_FLAGS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable", "-Xlog:all=error:stderr")
DEFAULTS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # A topic that a test did not create is a mistake in a name.
    "auto.create.topics.enable": "false",
    # Tests write rows with timestamps of any age.
    "log.retention.ms": "-1",
    "num.partitions": "4",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "4194304",
    # A killed broker may register again only when its former life's session has run out: 9 s by default.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "400",
}
LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n%throwable
"""
# Quick to find a broker that is just coming up; silent, since a test that kills brokers expects refused connections.
CLIENT_CONFIG: dict[str, str | int | bool] = {
    "log_level": 0,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
}


@dataclass(frozen=True, slots=True)
class ConsumedRecord:
    """One record as a consumer sees it; ``timestamp`` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


class KafkaServer(LocalServer):
    """One broker. ``settings`` are lines of server.properties on top of ours; ``restart()`` applies changed ones.

    With ``proxied=True`` there is a second listener behind ``proxy``, whose clients are told the proxy's address and so
    never go around it: give ``proxied_bootstrap`` to the program under test. ``bootstrap`` stays direct, and the
    methods below use it.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, *, proxied: bool = False) -> None:
        super().__init__(KAFKA.title)
        self.settings = dict(settings or {})
        self._controller_port = free_port()
        self._proxied_port = free_port() if proxied else None
        self._proxy = Proxy(self.host, self._proxied_port) if self._proxied_port else None

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def proxy(self) -> Proxy:
        if self._proxy is None:
            raise ServerError("this broker has no proxy; start it with proxied=True")
        return self._proxy

    @property
    def proxied_bootstrap(self) -> str:
        return f"{self.proxy.host}:{self.proxy.port}"

    def start(self) -> None:
        """Start on the same ports and data as before; return when the broker has registered and answers."""
        files = start_files()
        self.launch(files / "data", f"-XX:SharedArchiveFile={files / ARCHIVE}")

    def launch(self, formatted: Path, *flags: str) -> None:
        """Start with further flags of the JVM, the first time on a copy of that formatted folder."""
        if not self.data_dir.exists():
            shutil.copytree(formatted, self.data_dir)
            (self.data_dir / "meta.properties").write_text(settings_text(_identity()))
        if self._proxy is not None:
            self._proxy.start()
        properties, logging = self.folder / "server.properties", self.folder / "log4j2.properties"
        properties.write_text(settings_text(self.configuration()))
        logging.write_text(LOGGING)
        command = [*_jvm(*flags, f"-Dlog4j2.configurationFile={logging}"), "kafka.Kafka", str(properties)]
        self._run(command, _answering(self.bootstrap), START_SECONDS)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Shut down in good order: the next start need not wait for the old session to run out."""
        process = self._alive()
        process.resume()  # a paused broker would not hear the signal
        process.stop(signal.SIGTERM, seconds)

    def restart(self) -> None:
        """Stop it if it runs, and start."""
        if self.running:
            self.stop()
        self.start()

    def close(self) -> None:
        super().close()
        if self._proxy is not None:
            self._proxy.close()

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and wait until every partition has a leader."""
        admin = self._admin()
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        admin.create_topics([topic])[name].result(ANSWER_SECONDS)
        deadline = time.monotonic() + ANSWER_SECONDS
        while len(_led_partitions(admin, name)) < partitions:
            if time.monotonic() > deadline:
                raise ServerError(f"topic {name} has no leader after {ANSWER_SECONDS} s")
            time.sleep(0.01)

    def topics(self) -> list[str]:
        """The names of all topics but the broker's own."""
        return sorted(name for name in self._admin().list_topics(timeout=ANSWER_SECONDS).topics if name[:2] != "__")

    def read_all(
        self,
        topic: str,
        *,
        isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
        seconds: float = 60.0,
    ) -> list[ConsumedRecord]:
        """Every record of the topic, by partition and offset, up to the end that each partition had when reached.

        The end is the high watermark; for ``read_committed`` an open transaction's first record.
        """
        partitions = _led_partitions(self._admin(), topic)
        if not partitions:
            raise ServerError(f"there is no topic {topic!r} with a leader; there are {self.topics()}")
        consumer = Consumer(self._reader_config(isolation))
        try:
            # By number: OFFSET_BEGINNING is looked up before the leader is known, and again half a second later.
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            records = list(_until_end(consumer, set(partitions), seconds))
        finally:
            consumer.close()
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def configuration(self) -> dict[str, str]:
        """All lines of its server.properties."""
        controller = f"{self.host}:{self._controller_port}"
        listeners = [f"PLAINTEXT://{self.bootstrap}"]
        advertised = [*listeners]
        if self._proxy is not None:
            listeners.append(f"PROXIED://{self.host}:{self._proxied_port}")
            advertised.append(f"PROXIED://{self.proxied_bootstrap}")
        ours = {
            "controller.quorum.voters": f"1@{controller}",
            "listeners": ",".join([*listeners, f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(advertised),
            "log.dirs": str(self.data_dir),
        }
        return {**DEFAULTS, **ours, **self.settings}

    def _admin(self) -> AdminClient:
        return AdminClient({**CLIENT_CONFIG, "bootstrap.servers": self.bootstrap})

    def _reader_config(self, isolation: str) -> dict[str, str | int | bool]:
        return {
            **CLIENT_CONFIG,
            "bootstrap.servers": self.bootstrap,
            "group.id": "suite",  # asked for by the client, and never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",  # where the records from offset 0 on have been deleted
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "fetch.wait.max.ms": 10,
        }


def _led_partitions(admin: AdminClient, topic: str) -> list[int]:
    """The partitions that have a leader; none for a topic that does not exist."""
    # All topics are listed: a request for one name would create it where automatic creation is on.
    found = admin.list_topics(timeout=ANSWER_SECONDS).topics.get(topic)
    return [number for number, partition in found.partitions.items() if partition.leader >= 0] if found else []


def _until_end(consumer: Consumer, unread: set[int], seconds: float) -> Iterator[ConsumedRecord]:
    deadline = time.monotonic() + seconds
    while unread:
        if time.monotonic() > deadline:
            raise ServerError(f"partitions {sorted(unread)} were not read to their end in {seconds} s")
        for message in consumer.consume(num_messages=10_000, timeout=0.05):
            error = message.error()
            if error is None:
                yield _record(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition() or 0)
            else:
                raise KafkaException(error)


def _record(message: Any) -> ConsumedRecord:
    """Of a message without an error, for which the client's annotations are too wide to be of use."""
    return ConsumedRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
        message.timestamp()[1],
    )


def _answering(bootstrap: str) -> Callable[[], bool]:
    """A question for ``wait_ready``: does the broker list itself? It does so once the controller let it in."""
    admin = AdminClient({**CLIENT_CONFIG, "bootstrap.servers": bootstrap})

    def answers() -> bool:
        try:
            return bool(admin.list_topics(timeout=0.3).brokers)
        except KafkaException:
            return False

    return answers


def _jvm(*flags: str) -> list[str]:
    """The jars are named one by one: the class archive wants the very same class path, order included."""
    jars = sorted(str(jar) for jar in (install_kafka() / "libs").glob("*.jar"))
    return [_java(), *JVM_FLAGS, *flags, "-cp", os.pathsep.join(jars)]


def _java() -> str:
    java = java_program()
    if java is None:
        raise UnavailableError(KAFKA, "there is no Java on the PATH")
    return java


def _identity() -> dict[str, str]:
    return {"version": "1", "node.id": "1", "cluster.id": _uuid(), "directory.id": _uuid()}


def _uuid() -> str:
    """Kafka writes its ids as base64 for URLs without padding; one that began with '-' would look like an option."""
    return base64.urlsafe_b64encode(bytes([os.urandom(1)[0] & 0x7F]) + os.urandom(15)).decode().rstrip("=")


def start_files() -> Path:
    """The cached folder of a formatted ``data`` and of the class archive, which belongs to one Java program."""
    java = Path(_java()).resolve()
    mark = hashlib.sha256(f"{java} {java.stat().st_mtime_ns} {JVM_FLAGS}".encode()).hexdigest()[:12]
    return build_once(f"template-{KAFKA.name}-{mark}", _make_start_files)


def _make_start_files(folder: Path) -> None:
    """Format a folder; then let a broker run on a copy of it, which dumps the classes it has loaded when it ends."""
    broker = KafkaServer()
    try:
        _format(folder / "data", broker.configuration())
        broker.launch(folder / "data", f"-XX:ArchiveClassesAtExit={folder / ARCHIVE}")
        broker.stop()
    finally:
        broker.close()
    (folder / ARCHIVE).chmod(0o444)


def _format(data: Path, configuration: Mapping[str, str]) -> None:
    properties = data.with_name("format.properties")
    properties.write_text(settings_text({**configuration, "log.dirs": str(data)}))
    result = subprocess.run(
        [*_jvm(), "kafka.tools.StorageTool", "format", "-t", _uuid(), "-c", str(properties)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=data.parent,
        env=plain_environment(),
        check=False,
    )
    if result.returncode != 0:
        raise ServerError(f"the broker's folder was not formatted:\n{result.stdout.decode(errors='replace')}")
