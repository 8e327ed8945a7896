"""The settings room: every variable is declared, described and validated here, and nowhere else.

`load_settings` is the way in. Nothing here opens a connection or loads a driver that the URLs do not ask for.
"""

from __future__ import annotations

from cdc.settings.engine import EngineSettings
from cdc.settings.installed import InstalledConnectors
from cdc.settings.load import Endpoint, Settings, load_settings
from cdc.settings.url import Url

__all__ = ["load_settings", "Settings", "EngineSettings", "Endpoint", "InstalledConnectors", "Url"]
