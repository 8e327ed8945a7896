"""The servers themselves: each starts, streams, survives being killed, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.servers import ConsumedRecord, KafkaServer, PostgresServer, Proxy, ServerError, free_port, postgres_versions
from tests.servers.plugin import StartKafka, StartPostgres
from tests.servers.warden import descendants

CHANGES = "SELECT data FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'proto_version', '1', {})"


@pytest.mark.parametrize("version", postgres_versions())
def test_postgres_keeps_slot_and_rows_over_kill(postgres_server: StartPostgres, version: int) -> None:
    server = postgres_server(version)
    assert server.execute("SHOW server_version")[0][0].startswith(f"{version}.")
    server.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
    server.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    server.execute("INSERT INTO t VALUES (1)")
    postmaster = server.pid
    server.kill9()
    assert not server.running
    assert not Path(f"/proc/{postmaster}").exists()
    server.restart()
    assert server.pid != postmaster
    assert server.execute("SELECT id FROM t") == [(1,)]
    messages = server.execute(CHANGES.format("'publication_names', 'p'"))
    assert [bytes(row[0])[:1] for row in messages] == [b"B", b"R", b"I", b"C"]


def test_every_postgres_is_the_version_asked_for(every_postgres: PostgresServer) -> None:
    assert int(every_postgres.execute("SHOW server_version_num")[0][0]) // 10_000 == every_postgres.version


def test_postgres_settings_and_restart_modes(postgres_server: StartPostgres) -> None:
    server = postgres_server(max_slot_wal_keep_size="1MB")
    assert server.execute("SHOW max_slot_wal_keep_size") == [("1MB",)]
    server.settings["wal_sender_timeout"] = "7s"
    server.restart("immediate")
    assert server.execute("SHOW wal_sender_timeout; SHOW fsync") == [("off",)]
    assert server.execute("SHOW wal_sender_timeout") == [("7s",)]


def test_postgres_pause_answers_nothing_until_resumed(postgres_server: StartPostgres) -> None:
    server = postgres_server()
    server.pause()
    with pytest.raises(Exception, match="timeout"):
        server.execute("SELECT 1", connect_timeout="2")
    server.resume()
    assert server.execute("SELECT 1") == [(1,)]


def test_postgres_identity_is_the_templates_unless_fresh(
    postgres: PostgresServer, postgres_server: StartPostgres
) -> None:
    identity = "SELECT system_identifier FROM pg_control_system()"
    assert postgres_server().execute(identity) == postgres.execute(identity)
    assert postgres_server(fresh_system_identifier=True).execute(identity) != postgres.execute(identity)


def test_postgres_url_and_database(postgres: PostgresServer) -> None:
    assert postgres.create_database("a b") == postgres.dsn("a b")
    assert postgres.execute("SELECT current_database()", dbname="a b") == [("a b",)]
    assert postgres.dsn(user="u@x", application_name="a&b").endswith("/postgres?application_name=a%26b")
    assert postgres.dsn(user="u@x").startswith("postgresql://u%40x@127.0.0.1:")


def test_postgres_that_cannot_start_says_why(postgres_server: StartPostgres) -> None:
    with pytest.raises(ServerError, match="no_such_setting"):
        postgres_server(no_such_setting="1")


def produce(bootstrap: str, topic: str, *values: bytes, key: bytes = b"k") -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0, "message.timeout.ms": 10_000})
    for value in values:
        producer.produce(topic, value, key, headers=[("h", b"1"), ("h", None)], timestamp=1_000)
    assert producer.flush(15) == 0


def test_kafka_reads_every_partition(kafka: KafkaServer) -> None:
    kafka.create_topic("all", partitions=3, config={"cleanup.policy": "compact"})
    assert "all" in kafka.topics()
    assert kafka.read_all("all") == []
    for key in b"abcdefgh":
        produce(kafka.bootstrap, "all", b"1", b"2", key=bytes([key]))
    records = kafka.read_all("all")
    assert {record.partition for record in records} == {0, 1, 2}
    assert sorted((record.key, record.value) for record in records) == [
        (bytes([key]), value) for key in b"abcdefgh" for value in (b"1", b"2")
    ]
    assert records[0] == ConsumedRecord(
        "all", 0, 0, records[0].key, b"1", headers=(("h", b"1"), ("h", None)), timestamp=1_000
    )


def test_kafka_reads_from_the_first_record_that_is_left(kafka: KafkaServer) -> None:
    kafka.create_topic("shortened")
    produce(kafka.bootstrap, "shortened", b"0", b"1", b"2")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for deleted in admin.delete_records([TopicPartition("shortened", 0, 2)]).values():
        deleted.result(10)
    assert [(record.offset, record.value) for record in kafka.read_all("shortened")] == [(2, b"2")]


def test_kafka_refuses_unknown_topics(kafka: KafkaServer) -> None:
    with pytest.raises(ServerError, match="no topic 'nowhere'"):
        kafka.read_all("nowhere")
    assert "nowhere" not in kafka.topics()


def test_kafka_hides_aborted_transactions(kafka: KafkaServer) -> None:
    kafka.create_topic("transactions")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "t"})
    producer.init_transactions(10)
    for value, end in ((b"kept", producer.commit_transaction), (b"aborted", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce("transactions", value)
        producer.flush(10)
        end(10)
    assert [record.value for record in kafka.read_all("transactions")] == [b"kept"]
    dirty = kafka.read_all("transactions", isolation="read_uncommitted")
    assert [record.value for record in dirty] == [b"kept", b"aborted"]


def test_kafka_keeps_records_over_kill_and_restart(private_kafka: StartKafka) -> None:
    server = private_kafka({"message.max.bytes": "2000"})
    server.create_topic("t")
    produce(server.bootstrap, "t", b"1")
    broker = server.pid
    server.kill9()
    server.start()
    assert server.pid != broker
    produce(server.bootstrap, "t", b"2")
    server.restart()
    assert [record.value for record in server.read_all("t")] == [b"1", b"2"]
    refused: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": server.bootstrap})
    producer.produce("t", b"x" * 3_000, on_delivery=lambda error, _: refused.append(error))
    producer.flush(10)
    assert refused[0] is not None
    assert refused[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_kafka_clients_of_the_proxy_do_not_go_around_it(private_kafka: StartKafka) -> None:
    server = private_kafka(proxied=True)
    server.create_topic("t")
    producer = Producer({"bootstrap.servers": server.proxied_bootstrap, "log_level": 0})
    server.proxy.swallow("to_client")
    producer.produce("t", b"1")
    server.pause()
    server.resume()
    assert producer.flush(0.5) == 1
    server.proxy.release()
    assert producer.flush(10) == 0
    server.proxy.refuse()
    server.proxy.cut()
    producer.produce("t", b"2")
    assert producer.flush(0.5) == 1
    assert [record.value for record in server.read_all("t")] == [b"1"]
    server.proxy.accept()
    assert producer.flush(10) == 0


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it gets, until the end of file."""

    daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                while received := self.request.recv(65_536):
                    self.request.sendall(received)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Echo() as echo:
        threading.Thread(target=echo.serve_forever, args=(0.01,), daemon=True).start()
        with Proxy("127.0.0.1", echo.server_address[1]) as proxy:
            yield proxy
        echo.shutdown()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as client:
        yield client


def ask(client: socket.socket, question: bytes) -> bytes:
    client.sendall(question)
    answer = b""
    while len(answer) < len(question) and (received := client.recv(65_536)):
        answer += received
    return answer


def test_proxy_carries_and_counts(proxy: Proxy, client: socket.socket) -> None:
    sent = os.urandom(3_000_000)
    sender = threading.Thread(target=client.sendall, args=(sent,))
    sender.start()
    received = b""
    while len(received) < len(sent):
        received += client.recv(1 << 20)
    sender.join()
    assert received == sent
    assert proxy.bytes("to_upstream") == len(sent)
    assert proxy.bytes("to_client") == len(sent)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert proxy.accepted == 1


def test_proxy_cuts_with_a_reset(proxy: Proxy, client: socket.socket) -> None:
    assert ask(client, b"1") == b"1"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as another:
        assert ask(another, b"2") == b"2"


def test_proxy_refuses_and_accepts_again(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port), timeout=5)
    assert ask(client, b"1") == b"1"
    proxy.accept()
    proxy.accept()
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as another:
        assert ask(another, b"2") == b"2"


def test_proxy_swallows_and_releases(proxy: Proxy, client: socket.socket) -> None:
    assert ask(client, b"0") == b"0"
    proxy.swallow("to_client")
    client.sendall(b"1")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert proxy.bytes("to_upstream") == 2
    assert proxy.bytes("to_client") == 1
    client.settimeout(5)
    proxy.release()
    assert client.recv(1) == b"1"


def test_proxy_delays_but_does_not_slow_down(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.2, "to_client")
    started = time.monotonic()
    assert ask(client, b"1" * 500_000) == b"1" * 500_000
    assert 0.2 <= time.monotonic() - started < 1
    proxy.delay(0)
    started = time.monotonic()
    assert ask(client, b"1") == b"1"
    assert time.monotonic() - started < 0.2


def test_proxy_without_upstream_resets() -> None:
    with Proxy("127.0.0.1", free_port()) as proxy:
        with pytest.raises(ConnectionResetError):
            with socket.create_connection((proxy.host, proxy.port), timeout=5) as client:
                client.recv(1)


def test_proxy_stalls_postgres(postgres: PostgresServer) -> None:
    with Proxy(postgres.host, postgres.port) as proxy:
        url = postgres.dsn().replace(str(postgres.port), str(proxy.port))
        with psycopg.connect(url) as connection:
            proxy.cut()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        proxy.swallow()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(url, connect_timeout=2)


def test_killed_suite_leaves_nothing() -> None:
    script = (
        "import time; from tests.servers import PostgresServer; s = PostgresServer(); s.start();"
        "print(s.pid, s.socket_dir, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as suite:
        assert suite.stdout is not None
        pid, folder = suite.stdout.readline().split()
        assert Path(folder).exists()
        os.kill(suite.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(folder).exists() or descendants(int(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
