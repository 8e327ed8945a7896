"""The checkpoint's volume: full while it runs, and not writable at the start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakeScene


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    folder = tmp_path / "volume"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(volume: Path) -> Path:
    filler = volume / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_X2_disk_full_at_the_checkpoint(scene: MakeScene, volume: Path) -> None:
    """Not ready, nothing confirmed, the old checkpoint untouched; it heals by itself when there is room again."""
    settings = {"CDC_CHECKPOINT": f"file://{volume / 'checkpoint'}"}
    with scene(settings=settings) as stage:
        stage.begin()
        with stage.sampling():
            stage.workload.run(100)
            stage.caught_up()
            filler = fill(volume)
            old, confirmed = stage.connector.checkpoint.read_bytes(), stage.confirmed()
            before = stage.reader.ends()
            stage.workload.run(100)
            reasons = stage.connector.wait_unready()["reasons"]
            assert any("checkpoint-unwritable" in reason for reason in reasons), reasons
            stage.connector.wait_until(lambda: stage.reader.ends() != before)
            assert (stage.connector.checkpoint.read_bytes(), stage.confirmed()) == (old, confirmed)
            filler.unlink()
            stage.connector.wait_ready()
            stage.workload.run(50)
            verdict = stage.passes()
        assert verdict.duplicates == verdict.repeated_messages


def test_X2_killed_while_the_disk_is_full(scene: MakeScene, volume: Path) -> None:
    settings = {"CDC_CHECKPOINT": f"file://{volume / 'checkpoint'}"}
    with scene(kafka=False, settings=settings) as stage:
        stage.begin()
        stage.workload.run(100)
        stage.caught_up()
        filler = fill(volume)
        stage.workload.run(100)
        stage.connector.wait_unready()
        stage.connector.kill()
        stage.halts(2, "checkpoint-unwritable", "Free space")
        filler.unlink()
        stage.begin()
        stage.workload.run(50)
        stage.passes()


def test_X2_not_writable_at_the_start(scene: MakeScene, volume: Path) -> None:
    """Exit 2, whether there is a checkpoint already or not; nothing is made on the server."""
    settings = {"CDC_CHECKPOINT": f"file://{volume / 'checkpoint'}"}
    with scene(kafka=False, settings=settings) as stage:
        subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
        stage.halts(2, "checkpoint-unwritable", "Mount a writable volume")
        assert stage.slot_row("slot_name") is None
        subprocess.run(["mount", "-o", "remount,rw", volume], check=True)
        stage.begin()
        stage.workload.run(50)
        stage.caught_up()
        assert stage.connector.term() == 0
        subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
        stage.halts(2, "checkpoint-unwritable")
        subprocess.run(["mount", "-o", "remount,rw", volume], check=True)
        stage.begin()
        stage.workload.run(50)
        stage.passes()


def test_an_interrupted_save_is_an_outage(scene: MakeScene) -> None:
    """An error of the disk at each step of a save (X2): the next save works, and nothing is lost by the one that failed."""
    places = ("temp-written", "temp-synced", "previous-kept", "renamed", "directory-synced")
    failing = ";".join(f"checkpoint.{place}=raise:EIO@{5 + 3 * i}" for i, place in enumerate(places))
    with scene(kafka=False) as stage:
        stage.begin(failpoints=failing)
        with stage.sampling(0.01):
            for _ in range(8):
                stage.workload.run(40)
                stage.caught_up()
            stage.passes()
        assert "checkpoint-unwritable" in stage.connector.log_text()
