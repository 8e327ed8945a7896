"""The connector as anybody runs it: a `cdc run` process with an env file, asked for its state by its socket."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cdc.observe.probe import ask
from demo.servers.child import Child, DemoError, wait_until

_START_SECONDS: Final = 30.0
_DRAIN_SECONDS: Final = 40.0
_ANSWER_SECONDS: Final = 0.5


def write_env_file(path: Path, variables: Mapping[str, str]) -> None:
    """Mode 0600: it holds a password."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in variables.items())


@dataclass(frozen=True, slots=True)
class Lag:
    """As the connector tells it; None until it knows."""

    size: int | None
    seconds: float | None


class Connector:
    """A context manager; at its end the process is gone, drained or not."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._socket = folder / "shop.checkpoint.sock"
        self._env_file = folder / "shop.env"
        self._log = folder / "connector.log"
        checkpoint = {"CDC_CHECKPOINT": f"file://{folder}/shop.checkpoint", "CDC_LOG_FORMAT": "json"}
        write_env_file(self._env_file, {**variables, **checkpoint})
        self._child: Child | None = None
        self.health: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._child = Child([_command(), "run", "--env-file", self._env_file], self._log)
        try:
            wait_until(self._ready, self._child, _START_SECONDS, "cdc run")
        except BaseException:
            self._child.stop(signal.SIGKILL, 0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child:
            self._child.stop(signal.SIGKILL, 0)

    @property
    def build(self) -> str:
        return str(self.health.get("build", "unknown"))

    @property
    def lag(self) -> Lag:
        return Lag(self.health.get("lag_bytes"), self.health.get("lag_seconds"))

    def look(self) -> None:
        """Ask how it is; an answer that does not come leaves the last one. DemoError when it has ended."""
        assert self._child
        if (code := self._child.exit_code()) is not None:
            raise DemoError(f"cdc run ended with {code}:\n{self._child.log_tail()}")
        with suppress(OSError, ValueError):
            self.health = ask(self._socket, _ANSWER_SECONDS)

    def stop(self) -> int:
        """SIGTERM: it drains and saves its checkpoint. Returns its exit code."""
        assert self._child
        return self._child.stop(signal.SIGTERM, _DRAIN_SECONDS)

    def log_tail(self) -> str:
        return self._child.log_tail() if self._child else ""

    def _ready(self) -> bool:
        with suppress(OSError, ValueError):
            self.health = ask(self._socket, _ANSWER_SECONDS)
        return bool(self.health.get("ready"))


def _command() -> Path:
    command = Path(sys.executable).parent / "cdc"
    if not command.exists():
        raise DemoError(f"there is no {command}: make install")
    return command
