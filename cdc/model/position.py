"""A place in a source's log. Opaque to the engine: it has a text form and equality, and is never put in order."""

from __future__ import annotations

from typing import Protocol


class Position(Protocol):
    """What a source's position type must offer. `str()` gives the server's own text form."""

    def __str__(self) -> str: ...

    def __eq__(self, other: object, /) -> bool: ...

    def __hash__(self) -> int: ...
