"""`stdout:`: JSON lines for the next program in a pipe. A line is acknowledged when the kernel has all of it.

A reader that stops reading must not stop us: feedback to the source goes on. So nothing here waits longer than it was
told. A reader that has gone cannot come back to the same pipe: `SettingsError`, which ends the process; what was not
acknowledged comes again after the next start.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from cdc.errors import CdcError, DeliveryGap, SettingsError, SinkOutage
from cdc.model.record import Record
from cdc.ports import ConnectorContext, Ticket
from cdc_files.backlog import Backlog
from cdc_files.faults import FAULTS, Trouble

# A blocking pipe that select calls writable takes this much without blocking (pipe(7), PIPE_BUF).
_SURE: Final = 4096
_MOST: Final = 256 * 1024
_SILENT_SECONDS: Final = 10.0


class StdoutSink:
    """Implements `cdc.ports.Sink`. One order for all topics."""

    def __init__(self, context: ConnectorContext, descriptor: int = 1) -> None:
        self._standard = descriptor
        self._descriptor = descriptor
        self._step = _SURE
        self._backlog = Backlog(context.memory)
        self._chunk = b""  # lines under way, the first `_written` bytes of which the reader has
        self._written = 0
        self._torn = False  # the chunk begins within a line
        self._counted = 0  # lines in the chunk that are still in the backlog
        self._is_file = False
        self._trouble = Trouble("standard output")
        self._moved_at = time.monotonic()

    def open(self) -> None:
        try:
            mode = os.fstat(self._standard).st_mode
        except OSError as error:
            raise _closed(error) from error
        self._is_file = stat.S_ISREG(mode)
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            self._open_unblocked()

    def _open_unblocked(self) -> None:
        """The same pipe or terminal, not blocking. Set on fd 1 itself, the flag would hit whoever shares it."""
        with suppress(OSError):  # not ours to open again: small writes after select it is
            path = f"/proc/self/fd/{self._standard}"
            self._descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            self._step = _MOST

    def offer(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        if not self._backlog.lines:
            self._moved_at = time.monotonic()  # silence counts from the first line that waits
        return self._backlog.add(records, start, ticket)

    def poll(self, timeout: float) -> None:
        self._backlog.settle()
        if self._pending() and not self._trouble.waits(timeout) and self._writable(timeout):
            self._write()
            self._backlog.settle()

    def _pending(self) -> bool:
        return bool(self._chunk or self._backlog.lines)

    def _writable(self, timeout: float) -> bool:
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        return bool(poller.poll(max(0.0, timeout) * 1000))

    def _write(self) -> None:
        """Until the reader wants no more, or nothing is left."""
        try:
            while self._pending():
                if not self._chunk:
                    self._fill()
                part = memoryview(self._chunk)[self._written : self._written + self._step]
                self._advance(os.write(self._descriptor, part))
                if self._step == _SURE and not self._writable(0.0):
                    return
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)

    def _fill(self) -> None:
        """Lines of about one step, joined: a small line is not worth a system call."""
        chunk, size = [], 0
        for text in self._backlog.lines:
            chunk.append(text)
            size += len(text)
            if size >= self._step:
                break
        self._begin_chunk(b"".join(chunk), len(chunk))

    def _begin_chunk(self, chunk: bytes, counted: int) -> None:
        self._chunk, self._counted, self._written = chunk, counted, 0

    def _advance(self, written: int) -> None:
        self._written += written
        self._moved_at = time.monotonic()
        if self._written == len(self._chunk):
            if self._is_file:
                os.fsync(self._descriptor)
            self._backlog.delivered(self._counted)
            self._begin_chunk(b"", 0)
            self._torn = False
            self._trouble.end()

    def _fail(self, error: OSError) -> None:
        fault = FAULTS.get(error.errno or 0)
        if fault and not fault.heals:
            raise _closed(error) from error
        self._trouble.begin(error)

    def explain(self, error: Any, message: Any) -> CdcError:
        return DeliveryGap("no ticket of standard output reports a failure")

    def purge(self, timeout: float) -> bool:
        """The rest of a line that was cut must still be written, or the next line would be glued to its first half."""
        if self._written:
            self._torn = self._chunk[self._written - 1 : self._written] != b"\n"
        rest = self._chunk[self._written : self._chunk.find(b"\n", self._written) + 1] if self._torn else b""
        self._begin_chunk(rest, 0)
        self._backlog.clear()
        return True

    def outage(self) -> SinkOutage | None:
        silent = time.monotonic() - self._moved_at
        if self._trouble.outage is None and self._pending() and silent > _SILENT_SECONDS:
            return SinkOutage(
                f"what reads our standard output has taken nothing for {silent:.0f} s",
                fault="stdout-blocked",
                action="Look after the program that reads it; writing goes on when it does.",
            )
        return self._trouble.outage

    def flush(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self.poll(timeout)
        while self._pending() and (left := deadline - time.monotonic()) > 0:
            self.poll(left)
        return not self._pending()

    def close(self) -> None:
        self.purge(0.0)
        if self._descriptor != self._standard:
            os.close(self._descriptor)
            self._descriptor = self._standard


def _closed(error: OSError) -> SettingsError:
    fault = FAULTS[errno.EPIPE]
    return SettingsError(
        f"nothing can be written to standard output: {error.strerror}", fault=fault.name, action=fault.action
    )
