"""Runs an image's command as a container engine would: PID 1, the image's user, a read-only root, one writable volume.

bubblewrap makes the namespaces and setpriv takes the user, so files belong to whom they belong: with a namespace of
its own for users the process would own what is root's. The network is this machine's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.image.engine import Image

VOLUME: Final = "/var/lib/cdc"
DROPPED: Final = ("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")


class Sandbox:
    """One run, from entry to exit. Both of its outputs go to `log`."""

    def __init__(self, image: Image, environment: Mapping[str, str], volume: Path, log: Path) -> None:
        self._image = image
        settings = dict(entry.split("=", 1) for entry in image.configuration["Env"])
        self._environment = {**settings, "HOME": VOLUME, **environment}
        self._volume = volume
        self._log = log

    def __enter__(self) -> Self:
        configuration = self._image.configuration
        command = [
            *self._bwrap(),
            *self._as_user("--pdeathsig=KILL"),
            *configuration["Entrypoint"],
            *configuration["Cmd"],
        ]
        told, tell = os.pipe()
        with open(self._log, "wb") as log, open(told) as reader:
            command[1:1] = ["--info-fd", str(tell)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=[tell], cwd="/"
            )
            os.close(tell)
            self.pid: int = json.load(reader)["child-pid"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec`: in the same namespaces, as the same user, with the same environment."""
        enter = ["nsenter", f"--target={self.pid}", "--all"]
        return subprocess.run(
            [*enter, *self._as_user(), *command], env=self._environment, capture_output=True, text=True, check=False
        )

    def terminate(self, seconds: float) -> int:
        """As `docker stop`; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        return self._process.wait(seconds)

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def _bwrap(self) -> list[str]:
        mounts = ["--ro-bind", str(self._image.root), "/", "--proc", "/proc", "--dev", "/dev"]
        mounts += ["--bind", str(self._volume), VOLUME, "--chdir", self._image.configuration["WorkingDir"]]
        alone = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--die-with-parent", "--clearenv"]
        variables = [word for name, value in self._environment.items() for word in ("--setenv", name, value)]
        needed = [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
        return ["bwrap", *mounts, *alone, *variables, *needed, "--"]

    def _as_user(self, *options: str) -> list[str]:
        user, _, group = self._image.configuration["User"].partition(":")
        return ["setpriv", f"--reuid={user}", f"--regid={group}", *DROPPED, *options, "--"]
