"""`cdc checkpoint`: what an operator sees and does when it matters."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

import cdc.settings
from cdc.checkpoint.file import FileCheckpointStore
from cdc.cli import checkpoint as command
from cdc.errors import AnotherInstance, CheckpointUnreadable, PositionLost, SettingsError
from cdc.model.checkpoint import Checkpoint, Mark, Phase, Unfinished
from cdc.model.event import Gap

FIRST = Checkpoint("shop", Phase.STREAMING, {"system": "7316", "slot": "cdc_shop"}, Mark("0/1", None, {}), "5f3a", 1)
SECOND = replace(
    FIRST, mark=Mark("0/2", Unfinished("0/3", 41, 2), {"tables": []}), generation=2, gaps=(Gap("0/0", "0/1", "asked"),)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.checkpoint"


@pytest.fixture
def store(path: Path) -> Iterator[FileCheckpointStore]:
    store = FileCheckpointStore(path)
    store.acquire()
    store.save(FIRST)
    store.save(SECOND)
    store.release()
    yield store
    store.release()


@pytest.fixture
def cdc_checkpoint(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("CDC_CHECKPOINT", f"file://{path}")

    def run(*arguments: str, answer: str | None = None) -> int:
        parser = ArgumentParser()
        command.configure(parser)
        monkeypatch.setattr("builtins.input", lambda _: _answer(answer))
        return command.run(parser.parse_args(arguments))

    return run


def _answer(answer: str | None) -> str:
    if answer is None:
        raise EOFError
    return answer


def test_show_tells_all_that_matters(
    cdc_checkpoint: Callable[..., int], store: FileCheckpointStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cdc_checkpoint("show") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"checkpoint       {store.path}",
        "connector        shop",
        "phase            streaming",
        "position         0/2",
        "unfinished       41 rows and 2 messages of the transaction at 0/3",
        "generation       2",
        "settings digest  5f3a",
        "source           slot cdc_shop",
        "                 system 7316",
        "accepted gaps    0/0 to 0/1: asked",
    ]


def test_show_the_previous_generation_as_json(
    cdc_checkpoint: Callable[..., int], store: FileCheckpointStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cdc_checkpoint("show", "--previous", "--format", "json") == 0
    shown: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    assert (shown["path"], shown["generation"], shown["mark"]["position"]) == (str(store.previous_path), 1, "0/1")


def test_show_works_while_a_connector_runs(cdc_checkpoint: Callable[..., int], store: FileCheckpointStore) -> None:
    store.acquire()
    assert cdc_checkpoint("show") == 0


def test_show_without_one(cdc_checkpoint: Callable[..., int], path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cdc_checkpoint("show") == 1
    assert capsys.readouterr().err == f"there is no checkpoint at {path}\n"


def test_show_a_damaged_one_is_an_error(cdc_checkpoint: Callable[..., int], path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(CheckpointUnreadable):
        cdc_checkpoint("show")


@pytest.mark.parametrize("arguments", [("reset",), ("reset", "--to-previous")])
@pytest.mark.parametrize("answer", [None, "", "n", "perhaps"])
def test_reset_asks_and_takes_no_for_an_answer(
    cdc_checkpoint: Callable[..., int], store: FileCheckpointStore, arguments: tuple[str, ...], answer: str | None
) -> None:
    assert cdc_checkpoint(*arguments, answer=answer) == 1
    assert (store.load(), store.previous()) == (SECOND, FIRST)


@pytest.mark.parametrize("arguments", [("reset",), ("reset", "--to-previous")])
def test_reset_refuses_while_a_connector_runs(
    cdc_checkpoint: Callable[..., int], store: FileCheckpointStore, arguments: tuple[str, ...]
) -> None:
    store.acquire()
    with pytest.raises(AnotherInstance):
        cdc_checkpoint(*arguments, "--yes")
    assert store.load() == SECOND


def test_reset_moves_aside_and_says_what_comes_next(
    cdc_checkpoint: Callable[..., int], store: FileCheckpointStore, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cdc_checkpoint("reset", answer="y") == 0
    out = capsys.readouterr().out
    assert store.load() is None
    assert sum(".reset-" in each.name for each in path.parent.iterdir()) == 2
    assert f"moved to {path}.reset-" in out
    assert "cdc checkpoint adopt" in out
    assert cdc_checkpoint("reset", "--yes") == 0
    assert "There was no checkpoint" in capsys.readouterr().out


def test_reset_takes_a_damaged_one_too(
    cdc_checkpoint: Callable[..., int], store: FileCheckpointStore, path: Path
) -> None:
    path.write_bytes(b"torn")
    assert cdc_checkpoint("reset", "--to-previous", "--yes") == 0
    assert store.load() == FIRST
    path.write_bytes(b"torn again")
    assert cdc_checkpoint("reset", "--yes") == 0
    assert store.load() is None


def test_reset_to_a_previous_that_is_not_there(cdc_checkpoint: Callable[..., int], path: Path) -> None:
    store = FileCheckpointStore(path)
    store.acquire()
    store.save(FIRST)
    store.release()
    with pytest.raises(SettingsError, match="no previous generation"):
        cdc_checkpoint("reset", "--to-previous")
    store.acquire()  # the command let go of the lock
    store.release()


@pytest.mark.parametrize(
    ("value", "why"), [("", "is not set"), ("s3://bucket/x", "is not a file URL"), ("file://x/y", "is not a file URL")]
)
def test_a_place_that_is_none(
    cdc_checkpoint: Callable[..., int], monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    monkeypatch.setenv("CDC_CHECKPOINT", value)
    with pytest.raises(SettingsError, match=f"CDC_CHECKPOINT.*{why}"):
        cdc_checkpoint("show")


@pytest.fixture
def source(path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The settings as loaded, with a source that can adopt."""
    connector = SimpleNamespace(
        name="fake", adopt=lambda context: replace(FIRST, name=context.name, settings_digest="")
    )
    settings = SimpleNamespace(
        engine=SimpleNamespace(checkpoint=path),
        source=SimpleNamespace(connector=connector, context=SimpleNamespace(name="adopted")),
        digest="now",
    )
    monkeypatch.setattr(cdc.settings, "load_settings", lambda env_file, environ: settings)
    return connector


def test_adopt_writes_what_the_source_found(
    cdc_checkpoint: Callable[..., int], source: SimpleNamespace, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cdc_checkpoint("adopt") == 0
    assert FileCheckpointStore(path).load() == replace(FIRST, name="adopted", settings_digest="now")
    assert "position         0/1" in capsys.readouterr().out


def test_adopt_never_overwrites(
    cdc_checkpoint: Callable[..., int], source: SimpleNamespace, store: FileCheckpointStore, path: Path
) -> None:
    with pytest.raises(SettingsError, match="there is a checkpoint already, at 0/2"):
        cdc_checkpoint("adopt")
    path.write_bytes(b"torn")
    with pytest.raises(CheckpointUnreadable):
        cdc_checkpoint("adopt")
    assert path.read_bytes() == b"torn"


def test_adopt_refuses_while_a_connector_runs(
    cdc_checkpoint: Callable[..., int], source: SimpleNamespace, path: Path
) -> None:
    running = FileCheckpointStore(path)
    running.acquire()
    with pytest.raises(AnotherInstance):
        cdc_checkpoint("adopt")
    running.release()


def test_adopt_writes_nothing_where_the_source_finds_nothing(
    cdc_checkpoint: Callable[..., int], source: SimpleNamespace, path: Path
) -> None:
    def nothing(_: object) -> Checkpoint:
        raise PositionLost("there is no slot cdc_shop")

    source.adopt = nothing
    with pytest.raises(PositionLost):
        cdc_checkpoint("adopt")
    source.adopt = None
    with pytest.raises(SettingsError, match="nothing that could be adopted"):
        cdc_checkpoint("adopt")
    assert not path.exists()
