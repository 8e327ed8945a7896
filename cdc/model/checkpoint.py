"""What survives a crash: where the source may resume, and what the log alone cannot tell again.

Values only; `cdc.checkpoint` turns them into bytes and keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cdc.model.event import Gap


class Phase(StrEnum):
    """`INTENT` is written before the source creates anything on the server, so that a restart finishes its own half-made set-up."""

    INTENT = "intent"
    STREAMING = "streaming"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """How much of the transaction after the position is durable already.

    `position` is the commit position of that transaction. Rows with an ordinal below `ordinal`, and the first `messages`
    logical messages, are suppressed when it comes again. Void when the settings' digest has changed.
    """

    position: str
    ordinal: int
    messages: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a reader is that has everything up to here.

    `position` is the source's position as text: the end of the last whole transaction, or idle progress. `unfinished` tells of
    the transaction after it. `memory` is the source's own: what it must know to read on from `position` (table versions, the
    last commit), as plain JSON values; replaced, never mutated.
    """

    position: str
    unfinished: Unfinished | None
    memory: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The durable state of one connector. `source` identifies the server and what was made on it, as plain JSON values."""

    name: str
    phase: Phase
    source: Mapping[str, Any]
    mark: Mark
    settings_digest: str
    generation: int = 0
    gaps: tuple[Gap, ...] = field(default=())
