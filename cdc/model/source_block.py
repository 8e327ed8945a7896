"""How a connector's `source` block is built: names and where each value comes from, declared once.

The encoder compiles a layout into fragments per table and transaction, so that per row only the row's own slots are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Slot(Enum):
    """A value that the engine or the event supplies."""

    NAME = "connector name"
    VERSION = "our version"
    COMMIT_MS = "commit time, ms since 1970"
    COMMIT_US = "commit time, µs"
    COMMIT_NS = "commit time, ns"
    SCHEMA = "schema of the table; empty for a message"
    TABLE = "name of the table; empty for a message"
    SCHEMA_VERSION = "version of the table; null for a message"
    OFFSET = "the change's own place in the log, an integer"


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for the whole run."""

    value: str | int | None


@dataclass(frozen=True, slots=True)
class Fact:
    """The transaction's `facts[index]`; null outside a transaction."""

    index: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string put together from literal text and other values' digits."""

    parts: tuple[str | Fact | Slot, ...]


@dataclass(frozen=True, slots=True)
class SourceLayout:
    """The fields of the block, in order.

    `event_source` begins every event id: the connector's name and, where a position means nothing without it, the server's identity.
    """

    event_source: str
    fields: tuple[tuple[str, Slot | Constant | Fact | Text], ...]
