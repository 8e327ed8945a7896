"""`cdc check`: examine everything that a run needs, change nothing, and tell of each thing what is so and what mends it.

Exit 0, or 1 where there is an error. A warning is no error: it runs, but not as it should.
"""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cdc.checkpoint.file import FileCheckpointStore
from cdc.cli.findings import as_json, as_text, failed, on_terminal, summary
from cdc.cli.options import add_env_file
from cdc.encode.topics import TopicNames, topic_name
from cdc.errors import AnotherInstance, CdcError, SettingsError
from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding, Severity
from cdc.settings import Endpoint, Settings, load_settings

_OTHER_NAME: Final = "Give CDC_TOPIC a template that tells them apart, or exclude one in CDC_TABLES."


def configure(parser: ArgumentParser) -> None:
    add_env_file(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(args: Namespace) -> int:
    findings = list(dict.fromkeys(examine(args.env_file)))  # what keeps two questions from an answer is told once
    if args.format == "json":
        print(as_json(findings))
    else:
        print(as_text(findings, on_terminal()))
        print(summary(findings))
    return 1 if failed(findings) else 0


def examine(env_file: Path | None) -> Iterator[Finding]:
    try:
        settings = load_settings(env_file, os.environ)
    except SettingsError as error:
        for line in str(error).split("\n"):
            yield Finding(Severity.ERROR, "settings", line, error.action)
        return
    store = FileCheckpointStore(settings.engine.checkpoint)
    checkpoint, findings = _checkpoint(store, settings)
    yield from _guarded("source", lambda: settings.source.connector.preflight(settings.source.context, checkpoint))
    yield from findings
    yield from _guarded("sink", lambda: settings.sink.connector.preflight(settings.sink.context, checkpoint))
    yield from _guarded("topics", lambda: _topics(settings))
    for endpoint in (settings.source, settings.sink):
        yield from _drivers(endpoint)


def _guarded(subject: str, ask: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return ask()
    except CdcError as error:
        return [Finding(Severity.ERROR, subject, str(error), error.action)]


# -- the checkpoint's file -------------------------------------------------------------------------------------------------


def _checkpoint(store: FileCheckpointStore, settings: Settings) -> tuple[Checkpoint | None, list[Finding]]:
    """What is in it, and whether it can be read, written and locked."""
    findings = [_writable(store)]
    try:
        checkpoint = store.load()
    except CdcError as error:
        return None, [*findings, Finding(Severity.ERROR, "checkpoint", str(error), error.action)]
    if checkpoint is None:
        return None, [*findings, Finding(Severity.OK, "checkpoint", "there is none yet; the first start makes it")]
    return checkpoint, [*findings, *_compare(checkpoint, settings)]


def _compare(checkpoint: Checkpoint, settings: Settings) -> Iterator[Finding]:
    name = settings.engine.name
    if checkpoint.name != name:
        yield Finding(
            Severity.WARNING,
            "checkpoint",
            f"was written by {checkpoint.name}: topics and ids will be those of {name} from here on",
            f"CDC_NAME={checkpoint.name}",
        )
    position = checkpoint.mark.position or "not yet at a position"
    gaps = f", {len(checkpoint.gaps)} accepted gaps" if checkpoint.gaps else ""
    changed = "; the settings have changed since" if checkpoint.settings_digest != settings.digest else ""
    yield Finding(Severity.OK, "checkpoint", f"generation {checkpoint.generation} at {position}{gaps}{changed}")


def _writable(store: FileCheckpointStore) -> Finding:
    """The lock is taken only where its file is there: one that root makes now would lock out who runs later."""
    try:
        if not store.lock_path.exists():
            _write_beside(store.path)
        else:
            store.acquire()
            try:
                store.check_writable()
            finally:
                store.release()
    except AnotherInstance as running:
        return Finding(Severity.OK, "checkpoint", f"a connector runs: {running}")
    except SettingsError as error:
        return Finding(Severity.ERROR, "checkpoint", str(error), error.action)
    except OSError as error:
        return Finding(
            Severity.ERROR,
            "checkpoint",
            f"{store.path.parent} cannot be written: {error.strerror}",
            f"install -d -o {os.geteuid()} -m 700 {store.path.parent} # on a volume that survives restarts",
        )
    return Finding(Severity.OK, "checkpoint", f"{store.path} can be written")


def _write_beside(path: Path) -> None:
    if path.is_dir():
        raise SettingsError(f"{path} is a folder", action="Name a file in CDC_CHECKPOINT.")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.check") as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())


# -- topics ----------------------------------------------------------------------------------------------------------------


def _topics(settings: Settings) -> list[Finding]:
    """Two tables never share a topic (S15); what else there is to say about topics the sink knows."""
    engine = settings.engine
    names, findings = TopicNames(engine.name, engine.topic), []
    owners = {
        topic_name(engine.message_topic, name=engine.name): "CDC_MESSAGE_TOPIC",
        topic_name(engine.gap_topic, name=engine.name): "CDC_GAP_TOPIC",
    }
    topics = []
    for schema, table in _tables(settings):
        try:
            topic = names.render(schema, table)
        except SettingsError as error:
            findings.append(Finding(Severity.ERROR, "topics", str(error), error.action))
            continue
        owner = owners.setdefault(topic, f"{schema}.{table}")
        if owner == f"{schema}.{table}":
            topics.append(topic)
        else:
            text = f"{owner} and {schema}.{table} would both go to topic {topic}"
            findings.append(Finding(Severity.ERROR, "topics", text, _OTHER_NAME))
    check = settings.sink.connector.check_topics
    return [*findings, *(check(settings.sink.context, topics) if check else ())]


def _tables(settings: Settings) -> list[tuple[str, str]]:
    """Where the source does not answer, which its own findings tell, those that were named in full."""
    connector, literals = settings.source.connector, settings.engine.tables.literals()
    if connector.tables is None:
        return literals
    try:
        return connector.tables(settings.source.context)
    except CdcError:
        return literals


def _drivers(endpoint: Endpoint) -> list[Finding]:
    found = endpoint.connector.driver() if endpoint.connector.driver else []
    return [finding for finding in found if finding.severity is not Severity.OK]
