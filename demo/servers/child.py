"""Child processes that never outlive the demo: groups of their own, ended with their parent by the kernel."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG, prctl(2)
_TAIL_BYTES: Final = 4000


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> Account | None:
        """`nobody` when we are root: PostgreSQL refuses to run as root. Else None, ourselves."""
        if os.geteuid() != 0:
            return None
        entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid)

    def take(self, folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


class Child:
    """One process; its output goes to `log`. To be started from the main thread: the kernel watches the thread."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        account: Account | None = None,
        ends_on: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=plain_environment(),
                process_group=0,  # Ctrl-C is for the demo alone
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=_die_with_parent(ends_on),  # noqa: PLW1509 - runs after the change of user, which voids it
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, number: signal.Signals, seconds: float) -> int:
        """Ask it to end; insist with SIGKILL to its whole group after some time. Returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
            if self.wait(seconds) is None:
                os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def log_tail(self) -> str:
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()


def _die_with_parent(number: signal.Signals) -> Callable[[], None]:
    # Resolved here: between fork and exec as little as possible may happen.
    prctl = ctypes.CDLL(None).prctl
    signal_number, parent = int(number), os.getpid()

    def set_signal() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return set_signal


def plain_environment() -> dict[str, str]:
    """Ours, less what would change a server or the connector behind the demo's back."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "CDC_", "LC_", "PYTHON")) and name != "LANG"
    }


def wait_until(ready: Callable[[], bool], child: Child, seconds: float, what: str) -> None:
    """Poll. Raises DemoError with the end of the child's log when it ends or the time is up."""
    deadline = time.monotonic() + seconds
    while not ready():
        if (code := child.exit_code()) is not None:
            raise DemoError(f"{what} ended with {code} at its start:\n{child.log_tail()}")
        if time.monotonic() > deadline:
            raise DemoError(f"{what} was not ready after {seconds:.0f} s:\n{child.log_tail()}")
        time.sleep(0.02)
