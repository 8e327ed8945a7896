"""SQL as text: names quoted so that they mean nothing but themselves, and the shape of an answer."""

from __future__ import annotations

from cdc.errors import SettingsError

Rows = list[tuple[str | None, ...]]
"""Every value as the server's text; None is NULL."""


def quote_identifier(name: str) -> str:
    """Always quoted, so that no name means anything but itself (manual: "Identifiers and Key Words")."""
    if "\0" in name:
        raise SettingsError("a name holds a null character")
    return '"' + name.replace('"', '""') + '"'
