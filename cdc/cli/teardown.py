"""`cdc teardown`: remove from the source what was made there for this connector, or its log fills the server's disk (X16)."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cdc.checkpoint.file import FileCheckpointStore
from cdc.cli.administrator import add_admin, administrator, answering
from cdc.cli.confirm import agreed
from cdc.cli.options import add_env_file
from cdc.cli.setup import apply
from cdc.errors import SettingsError
from cdc.settings import load_settings


def configure(parser: ArgumentParser) -> None:
    add_env_file(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_admin(parser)


def run(args: Namespace) -> int:
    settings = load_settings(args.env_file, os.environ)
    source = settings.source
    admin = administrator(settings, args.admin)
    if source.connector.teardown is None:
        raise SettingsError(f"the source {source.connector.name} leaves nothing behind", fault="wrong-settings")
    store = FileCheckpointStore(settings.engine.checkpoint)
    with _nobody_runs(store), answering():
        found = source.connector.teardown(source.context, admin)
        statements = [each for each in found if not each.startswith("--")]
        if not statements:
            print("There is nothing of this connector on the server.")
        elif not agreed(args.yes, _question(statements)):
            return 1
        well = not statements or apply(source, admin, statements)
    _tell_remains([each.removeprefix("--").strip() for each in found if each.startswith("--")], store)
    return 0 if well else 1


@contextmanager
def _nobody_runs(store: FileCheckpointStore) -> Iterator[None]:
    """Holds the checkpoint's lock, so that no connector starts meanwhile. Raises AnotherInstance where one runs.

    Where there is no lock there never was a connector on this machine: nothing to hold, and no file to leave behind.
    """
    if store.lock_path.exists():
        store.acquire()
    try:
        yield
    finally:
        store.release()


def _question(statements: list[str]) -> str:
    listed = "\n".join(f"  {statement}" for statement in statements)
    return f"This will be run on the source, and cannot be undone:\n{listed}\nGo on?"


def _tell_remains(on_server: list[str], store: FileCheckpointStore) -> None:
    files: list[Path] = [path for path in (store.path, store.previous_path, store.lock_path) if path.exists()]
    remains = [*on_server, *map(str, files), "the topics, with what was sent"]
    print("What remains:")
    print("\n".join(f"  {each}" for each in remains))
    if store.path.exists():
        print(
            "A new start with this checkpoint ends with exit 3, for what it needs is gone: `cdc checkpoint reset` moves it aside."
        )
