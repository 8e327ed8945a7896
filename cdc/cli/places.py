"""Where a connector keeps its checkpoint and answers, read from its environment without the rest of its settings.

Commands that look at a connector from outside need no more, work beside settings that are wrong, and must be quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cdc.errors import SettingsError
from cdc.settings.env_file import EnvFileError
from cdc.settings.values import parse_file_url, parse_socket_path, socket_beside
from cdc.settings.variables import gather

_ACTION = "Give this command the connector's environment, or its --env-file."


def checkpoint_path(env_file: Path | None, environ: Mapping[str, str]) -> Path:
    return _checkpoint(_gather(env_file, environ))


def socket_path(env_file: Path | None, environ: Mapping[str, str]) -> Path:
    values = _gather(env_file, environ)
    if values.get("CDC_HEALTH_SOCKET"):
        return _parse(values, "CDC_HEALTH_SOCKET", parse_socket_path)
    return socket_beside(_checkpoint(values))


def _gather(env_file: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    try:
        return gather(env_file, environ)
    except EnvFileError as error:
        raise SettingsError(str(error), fault="wrong-settings", action="Correct the env file.") from None


def _checkpoint(values: Mapping[str, str]) -> Path:
    if not values.get("CDC_CHECKPOINT"):
        raise SettingsError("CDC_CHECKPOINT is not set", fault="wrong-settings", action=_ACTION)
    return _parse(values, "CDC_CHECKPOINT", parse_file_url)


def _parse(values: Mapping[str, str], name: str, parse: Callable[[str], Path]) -> Path:
    try:
        return parse(values[name])
    except ValueError as error:
        raise SettingsError(f"{name}: {error}", fault="wrong-settings", action=_ACTION) from None
