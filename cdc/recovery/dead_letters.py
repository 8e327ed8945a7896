"""Records that the broker refuses, kept whole for the operator: one file each, in a folder that only we may read.

Writing one is part of the acknowledgement of its event: `write` returns when the letter would survive a power cut. A
folder that is full halts the connector; nothing is thrown away to make room.
"""

from __future__ import annotations

import os
import stat
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from cdc.errors import DataError, SettingsError
from cdc.failpoints import hit
from cdc.model.record import Record


def event_id(record: Record) -> str:
    """The id that the envelope carries, for the letter and the log; a tombstone has none of its own."""
    if record.value is None:
        return "tombstone"
    found = orjson.loads(record.value)
    return str(found["id"]) if isinstance(found, dict) and "id" in found else "unknown"


class DeadLetters:
    """The same record of the same event is the same file, so that a replay leaves one letter, not two."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def open(self) -> None:
        """Make the folder, or tighten ours; SettingsError where that cannot be done."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_IMODE(self.directory.stat().st_mode) & 0o077:
                self.directory.chmod(0o700)
            _sync(self.directory.parent)
        except OSError as error:
            raise SettingsError(
                f"CDC_DEAD_LETTER: {self.directory} cannot be a private folder of ours: {error.strerror}",
                fault="dead-letter-folder",
                action=f"Name a folder that uid {os.geteuid()} can create, and nobody else uses.",
            ) from error

    def write(self, record: Record, reason: str, event_id: str) -> Path:
        """Durable when it returns. Returns where the letter lies; `DataError` where it cannot be written."""
        path = self.directory / _file_name(record, event_id)
        temp = path.with_suffix(".temp")
        try:
            _write_new(temp, orjson.dumps(_letter(record, reason, event_id)) + b"\n")
            hit("dead-letter.written")
            temp.replace(path)
            _sync(self.directory)
            hit("dead-letter.synced")
        except OSError as error:
            with suppress(OSError):
                temp.unlink()
            raise DataError(
                f"event {event_id} is refused ({reason}), and its dead letter cannot be written to "
                f"{self.directory}: {error.strerror}",
                fault="dead-letter-unwritable",
                action="Free space in the folder of CDC_DEAD_LETTER, or mend its permissions, and start again.",
            ) from error
        return path


def _letter(record: Record, reason: str, event_id: str) -> dict[str, Any]:
    return {
        "v": 1,
        "id": event_id,
        "reason": reason,
        "time": datetime.now(UTC).isoformat(),
        "topic": record.topic,
        "key": _encoded(record.key),
        "value": _encoded(record.value),
        "headers": [[name, _encoded(value)] for name, value in record.headers or ()],
    }


def _encoded(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def _file_name(record: Record, event_id: str) -> str:
    """The id for the reader, a digest to tell the records of one event apart; an id may hold any character."""
    digest = sha256()
    for part in (event_id.encode(), record.topic.encode(), record.key, record.value):
        digest.update(b"-" if part is None else b"+%d:" % len(part) + part)
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in event_id)[:120]
    return f"{readable.lstrip('.')}-{digest.hexdigest()[:16]}.json"


def _write_new(path: Path, data: bytes) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
