"""The files `<name>-<sequence>.jsonl` of one folder, appended to so that a crash can cut the last line only.

What `append` reported is durable: written and fsynced. Whatever lies behind it in the file was never acknowledged; it
is cut off before the next write, because a failed fsync may have left any part of it, and a crash half a line.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cdc.errors import AnotherInstance
from cdc.failpoints import hit

# Joined before writing: large enough to make system calls rare, small enough not to double the backlog's memory.
_CHUNK: Final = 1024 * 1024
_TAIL: Final = 64 * 1024
_NONE: Final = -1


class Journal:
    def __init__(self, folder: Path, name: str, rotate_bytes: int, keep: int) -> None:
        self._folder = folder
        self._name = name
        self._pattern = re.compile(re.escape(name) + r"-([0-9]{8,})\.jsonl")
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._known = False
        self._sequence = 0
        self._size = 0
        self._file = _NONE

    def open(self) -> None:
        """Continue the newest file behind its last whole line, or begin the first."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._sequences()
        if not found:
            self._begin_next()
        else:
            self._sequence = found[-1]
            self._file = self._locked(self._sequence, os.O_RDWR)
            self._size = _end_of_last_line(self._file)
            self._cut()
        self._known = True

    def append(self, lines: Iterable[bytes]) -> int:
        """Make lines durable, up to the size at which a file ends. Returns how many are; OSError if none."""
        try:
            if self._file == _NONE:
                self._reopen()
            if self._size >= self._rotate_bytes:
                self._begin_next()
            count, size = self._write(lines)
            hit("files.written")
            os.fsync(self._file)
            hit("files.synced")
        except OSError:
            self._abandon()
            raise
        self._size += size
        return count

    def close(self) -> None:
        if self._file != _NONE:
            os.close(self._file)
            self._file = _NONE

    def _write(self, lines: Iterable[bytes]) -> tuple[int, int]:
        room = self._rotate_bytes - self._size
        source, count, size = iter(lines), 0, 0
        while size < room and (chunk := _chunk(source, min(_CHUNK, room - size))):
            _write_all(self._file, b"".join(chunk))
            count += len(chunk)
            size += sum(map(len, chunk))
        return count, size

    def _path(self, sequence: int) -> Path:
        return self._folder / f"{self._name}-{sequence:08d}.jsonl"

    def _sequences(self) -> list[int]:
        names = (self._pattern.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def _locked(self, sequence: int, flags: int) -> int:
        """A file to append to that is ours alone: another writer would have its last line cut off by us."""
        path = self._path(sequence)
        descriptor = os.open(path, flags | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AnotherInstance(
                f"another process writes {path}",
                fault="sink-file-locked",
                action="Stop the other one, or give this one its own CDC_NAME or folder.",
            ) from None
        return descriptor

    def _begin_next(self) -> None:
        self.close()
        self._file = self._locked(self._sequence + 1, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._sequence += 1
        self._size = 0
        self._sync_folder()
        hit("files.rotated")
        self._remove_old()

    def _remove_old(self) -> None:
        if self._keep:
            with suppress(OSError):  # tried again at the next rotation; no reason to stop delivering
                for sequence in self._sequences()[: -self._keep]:
                    self._path(sequence).unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _abandon(self) -> None:
        """After a failed write: cut it off if the disk lets us, and take up the file anew next time."""
        if self._file != _NONE:
            with suppress(OSError):
                self._cut()
        self.close()

    def _cut(self) -> None:
        os.ftruncate(self._file, self._size)

    def _reopen(self) -> None:
        """After an outage. A file that was removed or shortened meanwhile is left as it is, and a new one is begun."""
        if not self._known:
            self.open()
            return
        with suppress(FileNotFoundError):
            self._file = self._locked(self._sequence, os.O_RDWR)
            if os.fstat(self._file).st_size >= self._size:
                self._cut()
                self._sync_folder()
                return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sequence = max([self._sequence, *self._sequences()])
        self._begin_next()


def _chunk(source: Iterable[bytes], limit: int) -> list[bytes]:
    """The next lines, up to and with the one that reaches the limit."""
    chunk, size = [], 0
    for text in source:
        chunk.append(text)
        size += len(text)
        if size >= limit:
            break
    return chunk


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _end_of_last_line(descriptor: int) -> int:
    """The size of the file without a last line that was cut short."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _TAIL)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
