"""X1–X3, X6, S10: whatever happens to the disk or to us, the old or the new checkpoint is there, whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from cdc.checkpoint.file import FileCheckpointStore
from cdc.errors import AnotherInstance, CheckpointUnreadable, CheckpointUnwritable, ExitCode, SettingsError
from cdc.model.checkpoint import Checkpoint, Mark, Phase
from cdc.ports import CheckpointStore
from tests.faults.declared import declared_in_source

FAILPOINTS = sorted(declared_in_source(Path(__file__).parents[2] / "cdc" / "checkpoint"))

# Run as `python -c SAVE <path> <generation>`: a process that saves one checkpoint and ends.
SAVE = """
import sys
from tests.unit.test_checkpoint_file import numbered, FileCheckpointStore
store = FileCheckpointStore(sys.argv[1])
store.acquire()
store.save(numbered(int(sys.argv[2])))
"""

# Run as `python -c HOLD <path>`: a process that holds the lock until its standard input ends.
HOLD = """
import sys
from cdc.checkpoint.file import FileCheckpointStore
store = FileCheckpointStore(sys.argv[1])
store.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def numbered(generation: int, padding: int = 0) -> Checkpoint:
    mark = Mark(f"0/{generation:X}", None, {"padding": "x" * padding})
    return Checkpoint("shop", Phase.STREAMING, {}, mark, "digest", generation)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.checkpoint"


@pytest.fixture
def store(path: Path) -> Iterator[FileCheckpointStore]:
    store = FileCheckpointStore(path)
    store.acquire()
    yield store
    store.release()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A volume of 64 KiB that nobody else writes to."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # lazy: a test that failed may still hold the lock


def files(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_is_the_port(store: FileCheckpointStore) -> None:
    port: CheckpointStore = store
    assert port.load() is None


def test_gives_back_what_was_saved_and_the_generation_before(store: FileCheckpointStore) -> None:
    store.save(numbered(1))
    assert (store.load(), store.previous()) == (numbered(1), None)
    store.save(numbered(2))
    store.save(numbered(3))
    assert (store.load(), store.previous()) == (numbered(3), numbered(2))


def test_S10_all_files_are_for_the_owner_only_and_nothing_else_is_left(store: FileCheckpointStore, path: Path) -> None:
    previous_umask = os.umask(0)
    try:
        for generation in range(3):
            store.save(numbered(generation))
    finally:
        os.umask(previous_umask)
    assert files(path.parent) == {"shop.checkpoint", "shop.checkpoint.previous", "shop.checkpoint.lock"}
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_a_symbolic_link_stays_one(store: FileCheckpointStore, path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(AnotherInstance):  # another name is no way around the lock
        FileCheckpointStore(link).acquire()
    store.release()
    through = FileCheckpointStore(link)
    through.acquire()
    through.save(numbered(1))
    through.release()
    assert link.is_symlink()
    assert store.load() == numbered(1)


def test_what_a_crash_left_behind_is_overwritten_not_followed(store: FileCheckpointStore, path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("mine")
    for stale in (".temp", ".previous.temp"):
        path.with_name(path.name + stale).symlink_to(victim)
    store.save(numbered(1))
    store.save(numbered(2))
    assert (store.load(), store.previous(), victim.read_text()) == (numbered(2), numbered(1), "mine")
    assert not any(name.endswith(".temp") for name in files(path.parent))


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"garbage"])
def test_X3_what_cannot_be_trusted_is_never_a_fresh_start(
    store: FileCheckpointStore, path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointUnreadable) as caught:
        store.load()
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == ExitCode.POSITION


def test_X3_a_removed_checkpoint_is_never_a_fresh_start(store: FileCheckpointStore, path: Path) -> None:
    store.save(numbered(1))
    store.save(numbered(2))
    path.unlink()
    with pytest.raises(CheckpointUnreadable, match=r"is missing, but .* is there"):
        store.load()


def test_X3_a_folder_in_its_place_is_unreadable(store: FileCheckpointStore, path: Path) -> None:
    path.mkdir()
    with pytest.raises(CheckpointUnreadable, match="Is a directory"):
        store.load()
    with pytest.raises(SettingsError, match="Is a directory"):
        store.check_writable()


def test_an_unreadable_previous_generation_does_not_advise_to_go_back_to_it(
    store: FileCheckpointStore, path: Path
) -> None:
    store.save(numbered(1))
    path.with_name(path.name + ".previous").write_bytes(b"")
    with pytest.raises(CheckpointUnreadable) as caught:
        store.previous()
    assert "--to-previous" not in caught.value.action


def test_the_previous_generation_can_be_restored(store: FileCheckpointStore, path: Path) -> None:
    store.save(numbered(1))
    store.save(numbered(2))
    path.write_bytes(b"torn")
    assert store.restore_previous(".reset-1") == numbered(1)
    assert store.load() == numbered(1)
    assert path.with_name(path.name + ".reset-1").read_bytes() == b"torn"
    store.save(numbered(3))
    assert store.previous() == numbered(1)


def test_without_a_previous_generation_there_is_nothing_to_restore(store: FileCheckpointStore) -> None:
    store.save(numbered(1))
    with pytest.raises(SettingsError, match="there is no previous generation"):
        store.restore_previous(".reset-1")
    assert store.load() == numbered(1)


def test_set_aside_leaves_the_way_free(store: FileCheckpointStore, path: Path) -> None:
    store.save(numbered(1))
    store.save(numbered(2))
    moved = store.set_aside(".reset-1")
    assert [each.name for each in moved] == ["shop.checkpoint.reset-1", "shop.checkpoint.previous.reset-1"]
    assert store.load() is None
    assert FileCheckpointStore(moved[0]).load() == numbered(2)


def test_saving_without_the_lock_is_a_bug(path: Path) -> None:
    with pytest.raises(RuntimeError, match="lock is not held"):
        FileCheckpointStore(path).save(numbered(1))


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield process


def test_X6_a_second_instance_ends_at_once_and_names_the_first(holder: subprocess.Popen[bytes], path: Path) -> None:
    store = FileCheckpointStore(path)
    with pytest.raises(AnotherInstance, match=f"process {holder.pid} on {os.uname().nodename} holds") as caught:
        store.acquire()
    assert caught.value.exit_code == ExitCode.INSTANCE
    assert "CDC_CHECKPOINT" in caught.value.action


def test_X6_a_killed_instance_leaves_no_lock(holder: subprocess.Popen[bytes], path: Path) -> None:
    holder.kill()
    holder.wait()
    FileCheckpointStore(path).acquire()


def test_X6_a_child_process_does_not_inherit_the_lock(store: FileCheckpointStore, path: Path) -> None:
    command = [sys.executable, "-c", "print('here', flush=True); import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout
        assert child.stdout.readline() == b"here\n"  # exec is over, and with it what closes on exec
        store.release()
        FileCheckpointStore(path).acquire()


def test_a_missing_folder_is_a_wrong_setting(tmp_path: Path) -> None:
    store = FileCheckpointStore(tmp_path / "nowhere" / "shop.checkpoint")
    for step in (store.acquire, store.check_writable):
        with pytest.raises(SettingsError, match="No such file or directory") as caught:
            step()
        assert caught.value.exit_code == ExitCode.SETTINGS
        assert "Create the folder" in caught.value.action


def test_a_read_only_volume_is_a_wrong_setting(tiny: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
    store = FileCheckpointStore(tiny / "shop.checkpoint")
    for step in (store.acquire, store.check_writable):
        with pytest.raises(SettingsError, match="Read-only file system") as caught:
            step()
        assert "Mount a writable volume" in caught.value.action


def test_a_full_volume_at_start_is_a_wrong_setting(tiny: Path) -> None:
    (tiny / "other").write_bytes(bytes(48 * 1024))
    store = FileCheckpointStore(tiny / "shop.checkpoint")
    store.acquire()
    store.check_writable()
    with (tiny / "more").open("wb", buffering=0) as file:
        fill(file)
    with pytest.raises(SettingsError, match="No space left on device"):
        store.check_writable()
    store.release()
    assert files(tiny) == {"other", "more", "shop.checkpoint.lock"}


def fill(file: IO[bytes]) -> None:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC


def test_check_writable_leaves_nothing_behind(store: FileCheckpointStore, path: Path) -> None:
    store.save(numbered(1))
    store.check_writable()
    assert files(path.parent) == {"shop.checkpoint", "shop.checkpoint.lock"}
    assert store.load() == numbered(1)


def test_X2_a_full_disk_leaves_the_old_checkpoint_and_heals(tiny: Path) -> None:
    store = FileCheckpointStore(tiny / "shop.checkpoint")
    store.acquire()
    store.save(numbered(1))
    with pytest.raises(CheckpointUnwritable, match="No space left on device") as caught:
        store.save(numbered(2, padding=64 * 1024))
    assert "Free space on the volume" in caught.value.action
    assert (store.load(), store.previous()) == (numbered(1), None)
    assert files(tiny) == {"shop.checkpoint", "shop.checkpoint.lock"}
    store.save(numbered(3))
    assert (store.load(), store.previous()) == (numbered(3), numbered(1))
    store.release()


@pytest.mark.parametrize("call", ["fsync", "link", "replace", "open"])
def test_X2_any_failing_system_call_is_not_saved(
    store: FileCheckpointStore, path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store.save(numbered(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(CheckpointUnwritable, match="Input/output error"):
            store.save(numbered(2))
    assert store.load() == numbered(1)
    assert path.with_name(path.name + ".temp").exists() is False
    store.save(numbered(2))
    assert store.load() == numbered(2)


def test_a_file_system_without_hard_links_keeps_the_previous_generation_too(
    store: FileCheckpointStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    store.save(numbered(1))
    store.save(numbered(2))
    assert (store.load(), store.previous()) == (numbered(2), numbered(1))
    assert not any(name.endswith(".temp") for name in files(path.parent))


def save_in_a_process(path: Path, generation: int, failpoints: str = "") -> int:
    command = [sys.executable, "-c", SAVE, str(path), str(generation)]
    return subprocess.run(command, env={**os.environ, "FAILPOINTS": failpoints}, check=False, timeout=60).returncode


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_X1_a_kill_at_any_place_leaves_the_old_or_the_new(path: Path, failpoint: str) -> None:
    store = FileCheckpointStore(path)
    store.acquire()
    store.save(numbered(1))
    store.save(numbered(2))
    store.release()
    assert save_in_a_process(path, 3, f"{failpoint}=kill") == -signal.SIGKILL
    replaced = failpoint in {"checkpoint.renamed", "checkpoint.directory-synced"}
    assert store.load() == numbered(3 if replaced else 2)
    previous = 1 if failpoint.startswith("checkpoint.temp") else 2
    assert store.previous() == numbered(previous)
    store.acquire()
    store.save(numbered(4))
    assert (store.load(), store.previous()) == (numbered(4), numbered(3 if replaced else 2))
    store.release()


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_X1_a_kill_during_the_first_save_leaves_none_or_the_first(path: Path, failpoint: str) -> None:
    store = FileCheckpointStore(path)
    assert save_in_a_process(path, 1, f"{failpoint}=kill") == -signal.SIGKILL
    replaced = failpoint in {"checkpoint.renamed", "checkpoint.directory-synced"}
    assert store.load() == (numbered(1) if replaced else None)


def test_the_failpoints_are_those_that_were_agreed() -> None:
    places = ["directory-synced", "previous-kept", "renamed", "temp-synced", "temp-written"]
    assert [f"checkpoint.{place}" for place in places] == FAILPOINTS


def test_settings_of_another_generation_are_not_the_stores_business(store: FileCheckpointStore) -> None:
    store.save(replace(numbered(9), settings_digest="other"))
    store.save(numbered(1))
    assert store.load() == numbered(1)
