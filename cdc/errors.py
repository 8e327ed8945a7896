"""The error tree. Each class says who is at fault, whether it heals, and with which exit code the process ends.

No message carries a secret or a row's value: an error names tables, columns, positions and settings only.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from cdc.model.record import Record


class ExitCode(IntEnum):
    """Documented and stable; see docs/operations.md."""

    STOPPED = 0
    SETTINGS = 2
    POSITION = 3
    DATA = 4
    NO_PROGRESS = 5
    INSTANCE = 6
    BUG = 70


class CdcError(Exception):
    """Anything this project raises on purpose.

    `fault` is the catalogue's name for it (docs/failure-modes.md), `action` what the operator does about it.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, message: str, *, fault: str = "", action: str = "") -> None:
        super().__init__(message)
        self.fault = fault or type(self).__name__
        self.action = action


class SettingsError(CdcError):
    """The operator's settings, or what they may not do on the server, make a start impossible."""

    exit_code = ExitCode.SETTINGS


class PositionLost(CdcError):
    """The server cannot continue from our checkpoint, or the checkpoint is not to be trusted."""

    exit_code = ExitCode.POSITION


class DataError(CdcError):
    """Data that may not be skipped and cannot be delivered."""

    exit_code = ExitCode.DATA


class MalformedMessage(DataError):
    """The log holds bytes that the decoder does not understand: `message` at `field`, `offset` bytes in."""

    def __init__(self, message: str, field: str, offset: int, why: str) -> None:
        super().__init__(
            f"{message}: {field} at byte {offset}: {why}",
            fault="malformed-message",
            action="Report this with the server's version; the stream cannot be read safely past this point.",
        )


class NoProgress(CdcError):
    """Faults that should heal did not within `CDC_RETRY_LIMIT`."""

    exit_code = ExitCode.NO_PROGRESS


class AnotherInstance(CdcError):
    """Another process holds the checkpoint's lock or the slot."""

    exit_code = ExitCode.INSTANCE


class SourceOutage(CdcError):
    """The source cannot be read now and will heal: reconnect and rewind to the checkpoint."""

    exit_code = ExitCode.NO_PROGRESS


class SinkOutage(CdcError):
    """The sink cannot take records now and will heal by itself: wait, keep the source fed, stay unready."""

    exit_code = ExitCode.NO_PROGRESS


class DeliveryGap(CdcError):
    """A record was refused or lost after it had been taken: purge, wait for what is in flight, rewind to the checkpoint."""

    exit_code = ExitCode.NO_PROGRESS


class RecordRefused(DataError):
    """The broker will never take `record` (too large, for instance); `taken` records of the offer were taken before it."""

    def __init__(
        self, message: str, *, taken: int = 0, record: Record | None = None, fault: str = "", action: str = ""
    ) -> None:
        super().__init__(message, fault=fault, action=action)
        self.taken = taken
        self.record = record


class CheckpointUnwritable(CdcError):
    """The checkpoint could not be made durable now. Nothing is confirmed meanwhile; the old one stands."""


class CheckpointUnreadable(PositionLost):
    """A checkpoint is there and cannot be trusted: torn, foreign or of an unknown format. Never a reason to start afresh."""
