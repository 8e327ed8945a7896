"""How the connector is, told on a Unix socket: one JSON document a connection.

The pump replaces `Health.snapshot` by one assignment and stamps `Health.turned`; the thread that answers only reads.
There is no lock, and a pump that hangs cannot keep the answer from saying so: ages are taken when the question comes.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from cdc.errors import SettingsError
from cdc.observe.probe import address

LONGEST_TURN: Final = 10.0
_CLIENT_TIMEOUT: Final = 2.0


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """What the pump knows. `since` is when the process started (ISO 8601, UTC); counts are since then.

    `checkpoint_saved` and `progressed` are `time.monotonic()` when the last checkpoint was saved and when the position
    last moved; None where that has not happened yet. `lag_bytes` and `lag_seconds` are None until the source has told.
    """

    state: str
    ready: bool
    reasons: tuple[str, ...]
    name: str
    build: str
    version: str
    pid: int
    since: str
    position: str = ""
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    retained_bytes: int | None = None
    events: int = 0
    records: int = 0
    bytes: int = 0
    duplicates_suppressed: int = 0
    rewinds: int = 0
    checkpoint_generation: int = 0
    checkpoint_saved: float | None = None
    progressed: float | None = None


class Health:
    """Written by the pump, read by whoever asks."""

    def __init__(self, snapshot: HealthSnapshot, clock: Callable[[], float] = time.monotonic) -> None:
        self.snapshot = snapshot
        self.turned = clock()
        self._clock = clock

    def document(self) -> dict[str, Any]:
        """The snapshot with ages in seconds in place of moments, and not ready when the pump has stopped turning."""
        snapshot, now = self.snapshot, self._clock()
        silent = now - self.turned
        stuck = [f"the loop has not turned for {silent:.0f} s"] if silent > LONGEST_TURN else []
        document = asdict(snapshot)
        document["ready"] = snapshot.ready and not stuck
        document["reasons"] = [*snapshot.reasons, *stuck]
        document["checkpoint_age_seconds"] = _age(document.pop("checkpoint_saved"), now)
        document["progress_age_seconds"] = _age(document.pop("progressed"), now)
        document["turn_age_seconds"] = round(silent, 3)
        return document


def _age(moment: float | None, now: float) -> float | None:
    return None if moment is None else round(now - moment, 3)


class HealthServer:
    """Answers on the socket at `path` from a daemon thread, from `open` until `close`."""

    def __init__(self, path: str | os.PathLike[str], health: Health) -> None:
        self.path = Path(path).absolute()
        self._health = health
        self._socket: socket.socket | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)
        self._inode = 0

    def open(self) -> None:
        """Raises SettingsError where the socket cannot be made or another process answers on it."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _replace_stale(self.path)
            _bind_private(listener, self.path)
            self._inode = self.path.stat().st_ino
        except OSError as error:
            listener.close()
            raise _unusable(self.path, error.strerror or str(error)) from error
        except SettingsError:
            listener.close()
            raise
        self._socket = listener
        self._thread.start()

    def close(self) -> None:
        """Stop answering and remove the socket, unless another process has put its own there."""
        if self._socket is None:
            return
        self._closing.set()
        with suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
        self._thread.join(_CLIENT_TIMEOUT)
        self._socket.close()
        self._socket = None

    def _serve(self) -> None:
        assert self._socket is not None
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                # Closing, or no descriptor left: then wait instead of spinning.
                self._closing.wait(0.1)
                continue
            with connection, suppress(OSError):
                connection.settimeout(_CLIENT_TIMEOUT)
                connection.sendall(orjson.dumps(self._health.document()) + b"\n")


def _replace_stale(path: Path) -> None:
    """Remove the socket of a process that died; refuse to take a living one's, or a file that is none of ours."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _unusable(path, "there is a file of another kind")
    if _somebody_answers(path):
        raise _unusable(path, "another process answers there")
    path.unlink(missing_ok=True)


def _somebody_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, address(path) as place:
        connection.settimeout(_CLIENT_TIMEOUT)
        try:
            connection.connect(place)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # it listens, and its queue is full
    return True


def _bind_private(listener: socket.socket, path: Path) -> None:
    with address(path) as place:
        listener.bind(place)
    path.chmod(0o600)  # before listen(): until then every connection is refused
    listener.listen(16)


def _unusable(path: Path, why: str) -> SettingsError:
    return SettingsError(
        f"the health socket {path} cannot be opened: {why}",
        fault="health-socket",
        action="Set CDC_HEALTH_SOCKET to a path of its own in a folder that exists and is writable.",
    )
