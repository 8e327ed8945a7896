"""`cdc checkpoint show|reset|adopt`: look at what survives a crash, take it away, or make one for an existing slot."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from cdc.checkpoint.file import FileCheckpointStore
from cdc.checkpoint.format import document
from cdc.cli.confirm import agreed
from cdc.cli.options import add_env_file
from cdc.cli.places import checkpoint_path
from cdc.errors import SettingsError
from cdc.model.checkpoint import Checkpoint, Unfinished

_AFTER_RESET = """\
There is no checkpoint now. The next `cdc run` starts as for the first time: it makes the slot, and what was committed
before is not sent. Where the slot still exists it stops with exit 3 instead; then either
  cdc checkpoint adopt    go on from where that slot stands
  cdc teardown            drop slot and publication first"""

_AFTER_GOING_BACK = """\
The next `cdc run` compares it with the server and goes on from there where the server still can; what was sent since
then is sent again, with the same ids."""


def configure(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="checkpoint_command", required=True, metavar="show|reset|adopt")
    show = commands.add_parser("show", help="print the checkpoint")
    show.add_argument("--previous", action="store_true", help="the generation before the current one")
    show.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    reset = commands.add_parser("reset", help="move the checkpoint aside, or go back to the previous generation")
    reset.add_argument("--to-previous", action="store_true", help="make the previous generation the current one")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    adopt = commands.add_parser("adopt", help="write a checkpoint for a slot that exists already")
    for command, action in ((show, _show), (reset, _reset), (adopt, _adopt)):
        add_env_file(command)
        command.set_defaults(checkpoint_action=action)


def run(args: Namespace) -> int:
    result: int = args.checkpoint_action(args)
    return result


def _show(args: Namespace) -> int:
    store = _store(args)
    path = store.previous_path if args.previous else store.path
    checkpoint = store.previous() if args.previous else store.load()
    if checkpoint is None:
        print(f"there is no checkpoint at {path}", file=sys.stderr)
        return 1
    if args.format == "json":
        print(orjson.dumps({"path": str(path), **document(checkpoint)}).decode())
    else:
        print(table(str(path), checkpoint))
    return 0


def table(path: str, checkpoint: Checkpoint) -> str:
    unfinished = checkpoint.mark.unfinished
    rows = [
        ("checkpoint", path),
        ("connector", checkpoint.name),
        ("phase", checkpoint.phase.value),
        ("position", checkpoint.mark.position),
        ("unfinished", "none" if unfinished is None else _unfinished(unfinished)),
        ("generation", str(checkpoint.generation)),
        ("settings digest", checkpoint.settings_digest),
        *_indented("source", [f"{name} {value}" for name, value in sorted(checkpoint.source.items())]),
        *_indented(
            "accepted gaps", [f"{gap.missing_from} to {gap.missing_to}: {gap.reason}" for gap in checkpoint.gaps]
        ),
    ]
    return "\n".join(f"{name:<17}{value}" for name, value in rows)


def _unfinished(unfinished: Unfinished) -> str:
    return f"{unfinished.ordinal} rows and {unfinished.messages} messages of the transaction at {unfinished.position}"


def _indented(name: str, lines: list[str]) -> list[tuple[str, str]]:
    return [(name if index == 0 else "", line) for index, line in enumerate(lines)]


def _reset(args: Namespace) -> int:
    store = _store(args)
    store.acquire()
    try:
        return _go_back(store, args.yes) if args.to_previous else _take_away(store, args.yes)
    finally:
        store.release()


def _go_back(store: FileCheckpointStore, sure: bool) -> int:
    previous = store.previous()
    if previous and not agreed(sure, f"Go back to the previous generation, at {previous.mark.position}?"):
        return 1
    suffix = _suffix()
    print(f"at {store.restore_previous(suffix).mark.position}; what was current is kept as {store.path}{suffix}")
    print(_AFTER_GOING_BACK)
    return 0


def _take_away(store: FileCheckpointStore, sure: bool) -> int:
    if not agreed(sure, f"Move {store.path} aside? The next start will know nothing of what was sent."):
        return 1
    moved = store.set_aside(_suffix())
    for path in moved:
        print(f"moved to {path}")
    print(_AFTER_RESET if moved else f"There was no checkpoint at {store.path}.")
    return 0


def _adopt(args: Namespace) -> int:
    from cdc.settings import load_settings

    settings = load_settings(args.env_file, os.environ)
    adopt = settings.source.connector.adopt
    if adopt is None:
        raise SettingsError(
            f"the source {settings.source.connector.name} has nothing that could be adopted", fault="wrong-settings"
        )
    store = FileCheckpointStore(settings.engine.checkpoint)
    store.acquire()
    try:
        _require_none(store)
        store.check_writable()
        checkpoint = replace(adopt(settings.source.context), settings_digest=settings.digest)
        store.save(checkpoint)
    finally:
        store.release()
    print(table(str(store.path), checkpoint))
    print("The next `cdc run` goes on from there; what the slot had let go before is not sent.")
    return 0


def _require_none(store: FileCheckpointStore) -> None:
    present = store.load()
    if present is not None:
        raise SettingsError(
            f"there is a checkpoint already, at {present.mark.position}: {store.path}",
            fault="checkpoint-exists",
            action="Start `cdc run`, which goes on from it; or move it aside first with `cdc checkpoint reset`.",
        )


def _store(args: Namespace) -> FileCheckpointStore:
    return FileCheckpointStore(checkpoint_path(args.env_file, os.environ))


def _suffix() -> str:
    return f".reset-{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z"
