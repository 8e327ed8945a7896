"""A private folder for everything that the demo writes, removed however the demo ends.

A janitor in a session of its own holds the read end of a pipe. Its end of file, which the kernel delivers also after
`kill -9`, makes it remove the folder; so there is one way of removing it, which is used each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

# Servers that have just been told to end may still write for a moment.
_JANITOR: Final = """
import os, shutil, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdin.read()
for _ in range(100):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.lexists(sys.argv[1]):
        break
    time.sleep(0.1)
"""


class Scratch:
    """`path` can be passed through by other users, but not listed: what lies in it has modes of its own."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="cdc-demo-", dir=_parent()))
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _JANITOR, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        self.path.chmod(0o711)

    def folder(self, name: str) -> Path:
        """A folder of its own for one purpose, closed to others."""
        made = self.path / name
        made.mkdir(mode=0o700)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._janitor.communicate()


def _parent() -> Path | None:
    """A temporary folder that the server's user can reach; None for the usual one."""
    usual = Path(tempfile.gettempdir())
    if os.geteuid() != 0 or open_to_others(usual):
        return None
    return next((place for place in (Path("/tmp"), Path("/var/tmp")) if open_to_others(place)), None)


def open_to_others(folder: Path) -> bool:
    """Whether any user can go there: each folder on the way must let others pass."""
    real = folder.resolve()
    return all(place.is_dir() and place.stat().st_mode & 0o001 for place in (real, *real.parents))
