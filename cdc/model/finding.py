"""What a preflight check found, and what is known about a fault."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `cdc check`: `subject` was examined, `detail` says what is so, `fix` is the exact SQL or setting that mends it."""

    severity: Severity
    subject: str
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What the catalogue knows about an exception: its name, whether it heals by itself, and what the operator does."""

    name: str
    heals: bool
    action: str
