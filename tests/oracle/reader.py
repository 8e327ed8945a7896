"""What a consumer sees: every record of a connector's topics, or every line of its file sink; and where a run stands."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import orjson
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from cdc.checkpoint.format import decode
from cdc.errors import CheckpointUnreadable
from cdc.model.checkpoint import Phase
from tests.oracle.history import Delivered, Sample, lsn

ANSWER_SECONDS = 10.0
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Reader(Protocol):
    def read(self) -> list[Delivered]:
        """All there is, each place's records in order."""
        ...

    def ends(self) -> dict[str, int]:
        """The offset that the next record of each place will have."""
        ...


class FileReader:
    """The JSON lines of `file:///dir`: one place, since one file follows the other. What is cut short was never acknowledged."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def read(self) -> list[Delivered]:
        found: list[Delivered] = []
        for path in self._files():
            text = path.read_bytes()
            for line in text[: text.rfind(b"\n") + 1].splitlines():
                document = orjson.loads(line)
                key, value = (_bytes(document.get(name)) for name in ("key", "value"))
                found.append(Delivered("file", len(found), document["topic"], key, value))
        return found

    def ends(self) -> dict[str, int]:
        return {"file": sum(path.read_bytes().count(b"\n") for path in self._files())}

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._name}-*.jsonl"))


class KafkaReader:
    """All topics whose name begins with `<name>.`"""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200,
        }
        self._prefix = name + "."
        self._admin = AdminClient(self._config)

    def read(self) -> list[Delivered]:
        ends = self._offsets()
        consumer = Consumer(
            {**self._config, "group.id": "oracle", "enable.auto.commit": False, "fetch.wait.max.ms": 10}
        )
        found: list[Delivered] = []
        try:
            waiting = {(part.topic, part.partition): end for part, end in ends.items() if end}
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in waiting])
            deadline = time.monotonic() + ANSWER_SECONDS
            while waiting:
                messages = consumer.consume(
                    5000, 0.1
                )  # returns at once when there are as many, else when the time is up
                if messages:
                    deadline = time.monotonic() + ANSWER_SECONDS
                elif time.monotonic() > deadline:
                    raise TimeoutError(f"nothing came, though {sorted(waiting)} are not read to the end")
                for message in messages:
                    if (error := message.error()) is not None:
                        raise KafkaException(error)
                    topic, number, offset = message.topic(), message.partition(), message.offset()
                    assert topic is not None and number is not None and offset is not None
                    place = f"{topic}/{number}"
                    found.append(Delivered(place, offset, topic, message.key(), message.value()))
                    if offset + 1 >= waiting.get((topic, number), 0):
                        waiting.pop((topic, number), None)
        finally:
            consumer.close()
        return sorted(found, key=lambda one: (one.place, one.offset))

    def ends(self) -> dict[str, int]:
        return {f"{part.topic}/{part.partition}": end for part, end in self._offsets().items()}

    def _offsets(self) -> dict[TopicPartition, int]:
        topics = self._admin.list_topics(timeout=ANSWER_SECONDS).topics
        parts = [
            TopicPartition(name, number)
            for name, topic in topics.items()
            if name.startswith(self._prefix)
            for number in topic.partitions
        ]
        asked = self._admin.list_offsets(dict.fromkeys(parts, LATEST)) if parts else {}
        return {part: future.result(ANSWER_SECONDS).offset for part, future in asked.items()}


def _bytes(document: object) -> bytes | None:
    return None if document is None else orjson.dumps(document)


class Sampler:
    """Takes samples; what cannot be read at the moment gives none."""

    def __init__(self, dsn: str, slot: str, checkpoint: Path, reader: Reader) -> None:
        self._dsn = dsn
        self._slot = slot
        self._checkpoint = checkpoint
        self._reader = reader
        self.samples: list[Sample] = []

    def take(self) -> Sample | None:
        """In this order, so that what is compared can only have grown: slot, checkpoint, ends."""
        try:
            confirmed, incarnation = self._slot_state()
            checkpoint, unfinished = read_checkpoint(self._checkpoint)
            sample = Sample(incarnation, confirmed, checkpoint, unfinished, self._reader.ends())
        except (psycopg.Error, KafkaException, TimeoutError):
            return None
        self.samples.append(sample)
        return sample

    def _slot_state(self) -> tuple[int | None, str]:
        query = (
            "SELECT pg_postmaster_start_time()::text, (SELECT (confirmed_flush_lsn - '0/0')::bigint "
            "FROM pg_replication_slots WHERE slot_name = %s)"
        )
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
            row = connection.execute(query, [self._slot]).fetchone()
        assert row is not None
        return row[1], row[0]


def read_checkpoint(path: Path) -> tuple[int | None, tuple[int, int] | None]:
    """The position and what is durable of the transaction after it; None before the first and where it cannot be read."""
    try:
        found = decode(path.read_bytes())
    except (FileNotFoundError, CheckpointUnreadable):
        return None, None
    if found.phase is Phase.INTENT:
        return None, None
    unfinished = found.mark.unfinished
    return lsn(found.mark.position), (lsn(unfinished.position), unfinished.ordinal) if unfinished else None


def appended(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """How many records were added between two looks at the ends."""
    return sum(end - before.get(place, 0) for place, end in after.items())


def read_dead_letters(folder: Path) -> list[Delivered]:
    """Records that the broker would not take, each a file of its own; their order is not kept."""
    found = []
    for number, path in enumerate(sorted(folder.glob("*.json"))):
        letter = orjson.loads(path.read_bytes())
        key, value = (None if letter[name] is None else b64decode(letter[name]) for name in ("key", "value"))
        found.append(Delivered("dead letters", number, letter["topic"], key, value))
    return found
