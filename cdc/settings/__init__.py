"""The settings room: every variable is declared, described and validated here, and nowhere else.

`load_settings` is the way in. Nothing here opens a connection or loads a driver that the URLs do not ask for. The names
below are loaded when they are first asked for: a probe that reads one path must not pay for the whole model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdc.settings.engine import EngineSettings
    from cdc.settings.installed import InstalledConnectors
    from cdc.settings.load import Endpoint, Settings, load_settings
    from cdc.settings.url import Url

__all__ = ["load_settings", "Settings", "EngineSettings", "Endpoint", "InstalledConnectors", "Url"]

_HOMES = {
    "load_settings": "load",
    "Settings": "load",
    "Endpoint": "load",
    "EngineSettings": "engine",
    "InstalledConnectors": "installed",
    "Url": "url",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
