"""`file:///dir`: a line is acknowledged after one fsync of all that one `poll` wrote."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cdc.errors import CdcError, DeliveryGap, SettingsError, SinkOutage
from cdc.model.record import Record
from cdc.ports import ConnectorContext, Ticket
from cdc_files.backlog import Backlog
from cdc_files.faults import FAULTS, Trouble
from cdc_files.journal import Journal
from cdc_files.settings import FilesSettings


class FileSink:
    """Implements `cdc.ports.Sink`. Order holds across all topics: there is one file at a time."""

    def __init__(self, context: ConnectorContext) -> None:
        settings: FilesSettings = context.settings
        path = folder(context.url)
        self._journal = Journal(path, context.name, settings.rotate_bytes, settings.keep)
        self._backlog = Backlog(context.memory)
        self._trouble = Trouble(str(path))

    def open(self) -> None:
        try:
            self._journal.open()
        except OSError as error:
            outage = self._trouble.begin(error)
            fault = FAULTS.get(error.errno or 0)
            if fault and not fault.heals:
                raise SettingsError(f"CDC_SINK: {outage}", fault=fault.name, action=fault.action) from error

    def offer(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        return self._backlog.add(records, start, ticket)

    def poll(self, timeout: float) -> None:
        self._backlog.settle()
        if self._backlog.lines and not self._trouble.waits(timeout):
            self._write()

    def _write(self) -> None:
        backlog = self._backlog
        try:
            while backlog.lines:
                backlog.delivered(self._journal.append(backlog.lines))
            self._trouble.end()
        except OSError as error:
            self._trouble.begin(error)
        backlog.settle()

    def explain(self, error: Any, message: Any) -> CdcError:
        return DeliveryGap("no ticket of a file reports a failure")

    def purge(self, timeout: float) -> bool:
        self._backlog.clear()
        return True

    def outage(self) -> SinkOutage | None:
        return self._trouble.outage

    def flush(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self.poll(timeout)
        while self._backlog.lines and (left := deadline - time.monotonic()) > 0:
            self.poll(left)
        return not self._backlog.lines

    def close(self) -> None:
        self._backlog.clear()
        self._journal.close()


def folder(url: str) -> Path:
    """The folder that `file:///dir` names."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or not path.is_absolute():
        raise SettingsError(
            "CDC_SINK: a folder is written file:///absolute/path, without host or parameters",
            fault="sink-url",
            action="Write three slashes, and %23 and %3F for # and ? in the path.",
        )
    return path
