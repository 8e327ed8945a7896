"""The connector as what it is in production: a process of its own, told by an env file, hurt by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cdc.observe.probe import ask
from tests.servers.warden import Warden

EXIT_SECONDS = 30.0
POLL_SECONDS = 0.02
ROOT = Path(__file__).parents[2]
_WARDEN = Warden()


class ConnectorError(Exception):
    """It did not do what the test waited for; the message carries the end of its log."""


class Connector:
    """One env file and checkpoint, over as many lives of the process as a test needs.

    `settings` are its variables; those given to `start` hold for one life only and go into the process's environment.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = dict(settings)
        self.env_file = folder / "connector.env"
        self.log = folder / "stderr.log"
        self.reached = folder / "failpoints.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def checkpoint(self) -> Path:
        return Path(self.settings["CDC_CHECKPOINT"].removeprefix("file://"))

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._alive().pid

    def start(self, failpoints: str = "", sabotage: str = "", **variables: str) -> Self:
        if self.running:
            raise ConnectorError("the connector runs already")
        self._forget()
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("CDC_", "FAILPOINTS", "SABOTAGE"))}
        ours = {"FAILPOINTS": failpoints, "FAILPOINTS_LOG": str(self.reached), "SABOTAGE": sabotage}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cdc", "run", "--env-file", str(self.env_file)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
                env={**environment, **ours, **variables},
                process_group=0,
            )
        _WARDEN.watch_process(self._process.pid)
        return self

    def wait(self, seconds: float = EXIT_SECONDS) -> int:
        """The exit code; negative for the signal that ended it."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ConnectorError(f"the connector still runs after {seconds:g} s:\n{self.log_tail()}") from None

    def kill(self) -> None:
        """SIGKILL, to its whole group; returns when it is gone."""
        process = self._alive()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def term(self, seconds: float = EXIT_SECONDS) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        self._alive().send_signal(number)

    def stop(self) -> None:
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._forget()

    def health(self) -> dict[str, Any] | None:
        """Its health document; None while nobody answers."""
        try:
            return ask(Path(f"{self.checkpoint}.sock"), 2.0)
        except (OSError, ValueError):
            return None

    def wait_ready(self, seconds: float = 30.0) -> None:
        self.wait_until(lambda: bool((health := self.health()) and health["ready"]), seconds, "ready")

    def wait_unready(self, seconds: float = 30.0) -> dict[str, Any]:
        """Its document, once it says that it is not ready for a reason."""
        found: dict[str, Any] = {}

        def unready() -> bool:
            found.update(self.health() or {})
            return bool(found) and not found["ready"] and found["state"] != "starting"

        self.wait_until(unready, seconds, "not ready")
        return found

    def wait_until(self, condition: Callable[[], object], seconds: float = 30.0, what: str = "so far") -> None:
        """Poll; fails at once when the process has ended."""
        wait_until(condition, seconds, what, self._check_alive)

    def _check_alive(self) -> None:
        if not self.running:
            code = self._process.returncode if self._process else None
            raise ConnectorError(f"the connector has ended with {code}:\n{self.log_tail()}")

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self) -> str:
        return self.log_text()[-4000:]

    def failpoints_reached(self) -> set[str]:
        return set(self.reached.read_text().split()) if self.reached.exists() else set()

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ConnectorError(f"the connector does not run:\n{self.log_tail()}")
        return self._process

    def _forget(self) -> None:
        if self._process is not None:
            _WARDEN.forget_process(self._process.pid)


def wait_until(
    condition: Callable[[], object], seconds: float, what: str, check: Callable[[], None] = lambda: None
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise ConnectorError(f"not {what} after {seconds:g} s")
        time.sleep(POLL_SECONDS)
