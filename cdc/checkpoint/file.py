"""The checkpoint as a local file, replaced whole: whatever kills us, the old or the new one is there.

Beside `<path>` lie `<path>.lock` (never removed: removing a lock file lets two processes hold one each),
`<path>.previous` (the generation before, for the operator) and, while saving, `<path>.temp`. All are 0600.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cdc.checkpoint.format import decode, encode
from cdc.errors import AnotherInstance, CdcError, CheckpointUnreadable, CheckpointUnwritable, SettingsError
from cdc.failpoints import hit
from cdc.model.checkpoint import Checkpoint

_PREVIOUS_UNREADABLE = (
    "Restore the checkpoint from a backup, or move it aside with `cdc checkpoint reset` and decide with "
    "`cdc checkpoint adopt` where to go on."
)

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class FileCheckpointStore:
    """Implements `cdc.ports.CheckpointStore`. Where `path` is a symbolic link, the file it points to is replaced."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self.previous_path = self._beside(".previous")
        self.lock_path = self._beside(".lock")
        self._temp = self._beside(".temp")
        self._lock: int | None = None

    def acquire(self) -> None:
        """Take the lock for as long as this process lives or until `release`."""
        if self._lock is not None:
            return
        try:
            descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._lock_exclusively(descriptor)
        except CdcError:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self) -> Checkpoint | None:
        data = self._read(self.path)
        if data is not None:
            return decode(data, str(self.path))
        if self.previous_path.exists():
            raise CheckpointUnreadable(
                f"{self.path} is missing, but {self.previous_path} is there: somebody removed the checkpoint",
                fault="checkpoint-missing",
                action="Go back to the previous generation with `cdc checkpoint reset --to-previous`, or, to begin "
                "without a checkpoint, move both aside with `cdc checkpoint reset`.",
            )
        return None

    def previous(self) -> Checkpoint | None:
        """The generation before the current one; None where there is none."""
        data = self._read(self.previous_path)
        return None if data is None else decode(data, str(self.previous_path), _PREVIOUS_UNREADABLE)

    def save(self, checkpoint: Checkpoint) -> None:
        self._replace(encode(checkpoint), self.previous_path)

    def check_writable(self) -> None:
        """Prove at start that a save would succeed now; SettingsError where not. Leaves nothing behind."""
        size = 4096
        with suppress(OSError):
            size = max(size, 2 * self.path.stat().st_size)
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            _write_new(self._temp, bytes(size))
            self._sync_folder()
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            self._discard_temp()

    def restore_previous(self, suffix: str) -> Checkpoint:
        """Make the previous generation the current one; what was current is kept as `<path><suffix>`."""
        checkpoint = self.previous()
        if checkpoint is None:
            raise SettingsError(
                f"there is no previous generation: {self.previous_path} does not exist",
                fault="checkpoint-no-previous",
                action="Use `cdc checkpoint reset` without --to-previous, or restore the file from a backup.",
            )
        self._replace(encode(checkpoint), self._beside(suffix))
        return checkpoint

    def set_aside(self, suffix: str) -> list[Path]:
        """Rename the checkpoint and its previous generation out of the way. Returns where they are now."""
        self._require_lock()
        moved = []
        try:
            for path in (self.path, self.previous_path):
                with suppress(FileNotFoundError):
                    moved.append(path.rename(path.with_name(path.name + suffix)))
            self._sync_folder()
        except OSError as error:
            raise self._unusable(error) from error
        return moved

    def _replace(self, data: bytes, keep_as: Path) -> None:
        """`path` holds the old bytes or the new ones, whole, at every instant of this."""
        self._require_lock()
        try:
            with _new_file(self._temp, data) as descriptor:
                hit("checkpoint.temp-written")
                os.fsync(descriptor)
            hit("checkpoint.temp-synced")
            self._keep(keep_as)
            self._temp.replace(self.path)
            hit("checkpoint.renamed")
            self._sync_folder()
            hit("checkpoint.directory-synced")
        except OSError as error:
            self._discard_temp()
            raise CheckpointUnwritable(
                f"the checkpoint {self.path} could not be saved: {_reason(error)}",
                fault="checkpoint-unwritable",
                action=_cure(error, self.path.parent),
            ) from error

    def _require_lock(self) -> None:
        if self._lock is None:
            raise RuntimeError("the lock is not held: another process might write the same checkpoint")

    def _keep(self, target: Path) -> None:
        """Give the current file a second name, put in place at once: `path` itself is never away."""
        if self.path.exists():
            spare = target.with_name(target.name + ".temp")
            _remove(spare)
            _link_or_copy(self.path, spare)
            spare.replace(target)
            # After a crash between here and the rename both names are one file, and rename(2) then leaves both.
            _remove(spare)
        hit("checkpoint.previous-kept")

    def _discard_temp(self) -> None:
        with suppress(OSError):  # the error that brought us here is the one to tell
            self._temp.unlink()

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointUnreadable(
                f"{path} cannot be read: {_reason(error)}", fault="checkpoint-unreadable", action=_cure(error, path)
            ) from error

    def _lock_exclusively(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._held_by(os.pread(descriptor, 256, 0)) from None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {os.uname().nodename}\n".encode(), 0)
        except OSError as error:
            raise self._unusable(error) from error

    def _held_by(self, content: bytes) -> AnotherInstance:
        pid, _, host = content.decode(errors="replace").strip().partition(" ")
        holder = f"process {pid} on {host}" if pid.isdecimal() else "another process"
        return AnotherInstance(
            f"{holder} holds the lock {self.lock_path}",
            fault="checkpoint-locked",
            action="One connector for each checkpoint and slot: stop the other one first, or give this one its own "
            "CDC_NAME and CDC_CHECKPOINT.",
        )

    def _unusable(self, error: OSError) -> SettingsError:
        return SettingsError(
            f"CDC_CHECKPOINT={self.path}: a checkpoint cannot be written there: {_reason(error)}",
            fault="checkpoint-unwritable",
            action=_cure(error, self.path.parent),
        )

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def _write_new(path: Path, data: bytes) -> None:
    with _new_file(path, data) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _new_file(path: Path, data: bytes) -> Iterator[int]:
    """Written, not yet durable. What a crash left under this name is removed, never followed or appended to."""
    _remove(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        yield descriptor


def _link_or_copy(path: Path, spare: Path) -> None:
    try:
        os.link(path, spare)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _write_new(spare, path.read_bytes())


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _cure(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return f"Create the folder {path}, writable for uid {os.geteuid()}, on a volume that survives restarts."
        case errno.EACCES | errno.EPERM:
            return f"Give uid {os.geteuid()} read and write permission on {path}."
        case errno.EROFS:
            return f"Mount a writable volume at {path}: the checkpoint is the one thing that must survive a restart."
        case errno.ENOSPC | errno.EDQUOT:
            return (
                f"Free space on the volume of {path}. Nothing is confirmed to the server meanwhile: it keeps its log."
            )
        case errno.EISDIR:
            return "Name a file in CDC_CHECKPOINT, not a folder."
    return f"Look after the volume of {path}. Nothing is confirmed to the server meanwhile: it keeps its log."
