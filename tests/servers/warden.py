"""A small process that outlives the suite by a moment and leaves nothing behind.

Fixtures stop their servers when pytest ends in good order. When pytest itself is killed nobody would: so the suite
holds the only write end of the warden's standard input, and its end of file, which the kernel delivers whatever
happens, makes the warden kill every server and remove every private folder that is still on its list.

The parent-death signal of Linux would not do: it fires when the *thread* that started the server ends, and fault tests
restart servers from short-lived threads; it is lost when a program changes user; and it cannot remove a folder.

The file runs as a script of its own and imports the standard library only.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The living process and its children, the oldest first; a server's workers may sit in sessions of their own."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (parent := _living_parent(entry.name)) is not None:
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid] if _living_parent(str(pid)) is not None else []
    for one in (queue := [pid]):
        queue.extend(parents.get(one, []))
        found.extend(parents.get(one, []))
    return found


def _living_parent(pid: str) -> int | None:
    """The parent's process id, or None for a process that is gone or a zombie."""
    try:
        stat = Path("/proc", pid, "stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]  # the program's name may hold spaces and brackets
    return None if state in "ZX" else int(parent)


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_tree(pid: int) -> list[int]:
    """SIGKILL the process, its group and its descendants; return the ids that were killed.

    It is stopped first, or it could fork a new child between the look and the kill.
    """
    signal_all([pid], signal.SIGSTOP)
    family = descendants(pid)
    signal_all(family, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return family


def remove_folder(folder: Path) -> None:
    """Remove a server's private folder, and the memory that a killed PostgreSQL has left behind.

    Its small System V segment is named in the file that it could not remove: "<key> <id>" in the seventh line, see
    src/include/utils/pidfile.h.
    """
    with contextlib.suppress(OSError):
        lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
        if len(words := "".join(lines[6:7]).split()) == 2:
            subprocess.run(["ipcrm", "-m", words[1]], stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(folder, ignore_errors=True)


class Warden:
    """The suite's end of the pipe. One warden serves the whole process and starts with the first server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        atexit.register(self.dismiss)

    def watch_process(self, pid: int) -> None:
        self._tell(f"+process {pid}")

    def forget_process(self, pid: int) -> None:
        self._tell(f"-process {pid}")

    def watch_folder(self, folder: Path) -> None:
        self._tell(f"+folder {folder}")

    def remove_folder(self, folder: Path) -> None:
        remove_folder(folder)
        self._tell(f"-folder {folder}")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = self._start()
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        # A session of its own: what ends the suite's process group must not end the warden with it.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def dismiss(self) -> None:
        """Let it do its work and wait for it, so that the end of the suite is the end of everything."""
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                self._process.communicate()
                self._process = None


def main() -> None:
    watched: dict[str, dict[str, None]] = {"process": {}, "folder": {}}
    for line in sys.stdin:
        kind, _, value = line.rstrip("\n").partition(" ")
        if kind.startswith("+"):
            watched[kind[1:]][value] = None
        else:
            watched[kind[1:]].pop(value, None)
    for pid in watched["process"]:
        kill_tree(int(pid))
    for folder in watched["folder"]:
        remove_folder(Path(folder))


if __name__ == "__main__":
    main()
