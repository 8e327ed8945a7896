"""Secrets that were registered never leave this process as text: each occurrence becomes `***`.

Kept apart from the logs so that whoever prints (a command, an error at start) can scrub without loading them.
"""

from __future__ import annotations

import re
from typing import Final

_HIDDEN: Final = "***"
# A key file's lines may be quoted one by one; shorter lines are not secret by themselves.
_SHORTEST_LINE: Final = 16


class Scrubber:
    """Knows secrets and the spellings in which drivers repeat them."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def register(self, value: str) -> None:
        for part in (value, value.strip(), *_long_lines(value)):
            if part:
                self._spellings |= _spellings(part)
        if self._spellings:
            # The longest first: a secret that contains another must go as a whole.
            ordered = sorted(self._spellings, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def scrub(self, text: str) -> str:
        return self._pattern.sub(_HIDDEN, text) if self._pattern else text


def _long_lines(value: str) -> list[str]:
    return [line for line in value.split("\n") if len(line) >= _SHORTEST_LINE and not line.startswith("-----")]


def _spellings(secret: str) -> set[str]:
    """As it is, as in a URL, and as `repr` and JSON write it between their quotes."""
    import json
    from urllib.parse import quote, quote_plus

    encodable = secret.encode(errors="replace")
    urls = {quote(encodable, safe=""), quote(encodable), quote_plus(encodable)}
    return {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], *urls}


_PROCESS: Final = Scrubber()


def register_secret(value: str) -> None:
    """From now on this process tells `***` in its place. Cheap, but not for a hot path."""
    _PROCESS.register(value)


def scrub(text: str) -> str:
    return _PROCESS.scrub(text)
