"""Servers as child processes: started apart from the suite's terminal, found to be ready, ended to the last worker."""

from __future__ import annotations

import os
import pwd
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.install import open_to_others
from tests.servers.warden import Warden, descendants, kill_tree, signal_all

POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 4000
# "<folder>/.s.PGSQL.65535" and its final zero byte must fit into the 108 bytes of sockaddr_un.
LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535")

_WARDEN = Warden()


class ServerError(Exception):
    """A server did not do what it was told; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user that a server runs as instead of root."""

    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> Account | None:
        """``nobody`` when we are root, else None: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid)

    def take(self, path: Path) -> None:
        """Give it the file, or the folder with everything inside."""
        for one in (path, *path.rglob("*")):
            os.chown(one, self.uid, self.gid, follow_symlinks=False)


def start_program(command: Sequence[str], folder: Path, account: Account | None) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, its output appended to ``folder/log``."""
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=plain_environment(),
            process_group=0,  # Ctrl-C in the suite's terminal is for the suite alone
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def plain_environment() -> dict[str, str]:
    """The suite's environment less what would change a server: PGDATA, PGPORT, KAFKA_OPTS, a locale and the like."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "KAFKA_", "LC_", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS")) and name != "LANG"
    }


class ServerProcess:
    """One life of a server; a restart makes a new one."""

    def __init__(self, command: Sequence[str], folder: Path, account: Account | None = None) -> None:
        self._log = folder / "log"
        self._popen = start_program(command, folder, account)
        self.pid = self._popen.pid
        _WARDEN.watch_process(self.pid)

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait_ready(self, probe: Callable[[], bool], seconds: float) -> None:
        """Poll until the probe answers True. Raises ServerError when the program ends or the time is up."""
        deadline = time.monotonic() + seconds
        while not probe():
            if not self.running:
                raise ServerError(f"the server ended with {self._popen.returncode} at its start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"the server was not ready after {seconds} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self, number: signal.Signals, seconds: float) -> None:
        """Ask it to end. Raises ServerError, and leaves it running, when it has not ended in that time."""
        self._popen.send_signal(number)
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f"the server did not end on {number.name} in {seconds} s:\n{self.log_tail()}") from None
        _WARDEN.forget_process(self.pid)

    def kill(self) -> None:
        """SIGKILL to it and to all its workers; return when the last of them is gone, and its memory with it."""
        family = kill_tree(self.pid) if self.running else []
        self._popen.wait()
        while any(os.path.exists(f"/proc/{pid}") and descendants(pid)[:1] == [pid] for pid in family):
            time.sleep(POLL_SECONDS)
        _WARDEN.forget_process(self.pid)

    def pause(self) -> None:
        """Freeze the whole server: its connections stay open and nothing answers."""
        signal_all([self.pid], signal.SIGSTOP)  # first, so that it starts no worker that we would miss
        signal_all(descendants(self.pid), signal.SIGSTOP)

    def resume(self) -> None:
        signal_all(list(reversed(descendants(self.pid))), signal.SIGCONT)

    def log_tail(self) -> str:
        return tail(self._log)


class LocalServer:
    """What all servers have in common: a private folder with data and log, and a process that can be hurt.

    A context manager: it starts the server, and in the end removes it with its data.
    """

    host = "127.0.0.1"

    def __init__(self, kind: str, account: Account | None = None) -> None:
        self.port = free_port()
        self._kind = kind
        self._account = account
        self._folder: Path | None = None
        self._process: ServerProcess | None = None

    def start(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process and self._process.running else "not running"
        return f"<{self._kind} {self.host}:{self.port} {state}>"

    @property
    def folder(self) -> Path:
        """The server's private folder; it comes with the first use and goes with ``close()``."""
        if self._folder is None:
            self._folder = private_folder("cdc-server-", self._account)
        return self._folder

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server wrote, over all its restarts."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        return self._alive().pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def kill9(self) -> None:
        """SIGKILL to the server and all its workers. Port and data stay for the next ``start()``."""
        self._alive().kill()

    def pause(self) -> None:
        """Freeze the server with all its workers: connections stay open, nothing answers. ``resume``, ``stop`` and
        ``kill9`` end it."""
        self._alive().pause()

    def resume(self) -> None:
        self._alive().resume()

    def close(self) -> None:
        """End it without ceremony and remove its folder. A closed server that is started again is empty."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._folder is not None:
            remove_folder(self._folder)
            self._folder = None

    def _run(self, command: Sequence[str], answers: Callable[[], bool], seconds: float) -> None:
        """Start the program and wait until it answers; one that never does is not left running."""
        if self.running:
            raise ServerError(f"{self!r} runs already")
        if self._process is not None:
            self._process.kill()  # it died by itself or by a test's own hand: the warden must forget its number
        self._process = ServerProcess(command, self.folder, self._account)
        try:
            self._process.wait_ready(answers, seconds)
        except BaseException:
            self._process.kill()
            raise

    def _alive(self) -> ServerProcess:
        if self._process is None or not self._process.running:
            raise ServerError(f"{self!r}")
        return self._process


def tail(log: Path) -> str:
    try:
        return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
    except FileNotFoundError:
        return "(no log)"


def private_folder(prefix: str, account: Account | None = None) -> Path:
    """A new folder of mode 700 whose path is short enough for a Unix socket and open to the account.

    The warden removes it if the suite cannot.
    """
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        room = LONGEST_SOCKET_FOLDER - len(os.fsencode(parent)) - len(prefix) - len("/12345678")
        if room >= 0 and (account is None or open_to_others(parent)):
            break
    else:
        raise ServerError("no temporary folder has a path that is short and open to others; set TMPDIR to one")
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    _WARDEN.watch_folder(folder)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def remove_folder(folder: Path) -> None:
    _WARDEN.remove_folder(folder)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, outside the range the kernel takes outgoing ports from.

    A server that is down for a restart must find its port again: inside that range any outgoing connection could
    have taken it, and a client that keeps knocking may even be connected to itself.
    """
    lowest, highest = _outgoing_ports()
    candidates = [*range(10_000, lowest), *range(highest + 1, 65_536)] or list(range(1_024, 65_536))
    chooser = random.SystemRandom()  # the suite seeds the usual generator, and parallel workers seed it alike
    for _ in range(1_000):
        port: int = chooser.choice(candidates)
        if _is_free(port):
            return port
    raise ServerError("no free port was found")


def _outgoing_ports() -> tuple[int, int]:
    try:
        lowest, highest = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return 32_768, 60_999
    return int(lowest), int(highest)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def settings_text(settings: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
    """A configuration file of one ``name=value`` line each."""
    return "".join(f"{name}={quote(value)}\n" for name, value in settings.items())
