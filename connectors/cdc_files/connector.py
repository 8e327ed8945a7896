"""The entry point: what the engine learns about this connector."""

from __future__ import annotations

import os
from pathlib import Path

from cdc.errors import SettingsError
from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding, Severity
from cdc.ports import Connector, ConnectorContext, Sink
from cdc_files.faults import classify
from cdc_files.file_sink import FileSink, folder
from cdc_files.settings import FilesSettings
from cdc_files.stdout_sink import StdoutSink


def open_sink(context: ConnectorContext) -> Sink:
    return StdoutSink(context) if context.url.startswith("stdout:") else FileSink(context)


def preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    """Whether the folder can be written. Nothing is created."""
    if context.url.startswith("stdout:"):
        return [Finding(Severity.OK, "sink", "records go to standard output")]
    try:
        path = folder(context.url)
    except SettingsError as error:
        return [Finding(Severity.ERROR, "sink", str(error), error.action)]
    existing = next(each for each in (path, *path.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return [Finding(Severity.ERROR, "sink", f"{existing} is not writable", _cure(existing))]
    state = "is there" if existing == path else "will be created"
    return [Finding(Severity.OK, "sink", f"the folder {path} {state}")]


def _cure(path: Path) -> str:
    return f"Make {path} a folder that uid {os.geteuid()} may write, or correct CDC_SINK."


CONNECTOR = Connector(
    name="files",
    schemes=("file", "stdout"),
    settings=FilesSettings,
    open=open_sink,
    preflight=preflight,
    classify=classify,
)
