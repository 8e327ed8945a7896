"""What is known about the faults of files and pipes: one table, by the system's error number."""

from __future__ import annotations

import errno
import time
from typing import Final

from cdc.errors import SinkOutage
from cdc.model.finding import Fault

_FULL = Fault(
    "sink-disk-full", True, "Free space on the volume of CDC_SINK, or raise its quota; writing goes on by itself."
)
_BROKEN = Fault("sink-disk-error", True, "Look after the volume of CDC_SINK; writing goes on when it answers again.")
_DENIED = Fault(
    "sink-folder-denied", False, "Give the user that runs the connector write permission on the folder of CDC_SINK."
)
_MISSING = Fault("sink-folder-missing", False, "Create the folder that CDC_SINK names, or correct CDC_SINK.")
_CLOSED = Fault(
    "stdout-closed", False, "Start the connector again together with the program that reads its standard output."
)

FAULTS: dict[int, Fault] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
    errno.EISDIR: _MISSING,
    errno.ENAMETOOLONG: _MISSING,
    errno.ELOOP: _MISSING,
    errno.EPIPE: _CLOSED,
    errno.EBADF: _CLOSED,
}


def classify(exception: BaseException) -> Fault | None:
    """What is known about an error of the system; None for anything else."""
    if not isinstance(exception, OSError):
        return None
    return FAULTS.get(exception.errno or 0, _BROKEN)


class Trouble:
    """An outage under way: what it is, and when to try again."""

    # A full disk is asked again this often: soon enough for a test, seldom enough not to wear it.
    _RETRY_SECONDS: Final = 1.0

    def __init__(self, where: str) -> None:
        self._where = where
        self._retry_at = 0.0
        self.outage: SinkOutage | None = None

    def begin(self, error: OSError) -> SinkOutage:
        fault = FAULTS.get(error.errno or 0, _BROKEN)
        self._retry_at = time.monotonic() + self._RETRY_SECONDS
        text = f"{self._where} cannot be written: {error.strerror}"
        self.outage = SinkOutage(text, fault=fault.name, action=fault.action)
        return self.outage

    def end(self) -> None:
        self.outage = None

    def waits(self, timeout: float) -> bool:
        """Whether it is too early to try again. Waits for that, at most `timeout` seconds."""
        left = self._retry_at - time.monotonic() if self.outage else 0.0
        if left > 0:
            time.sleep(min(left, timeout))
        return left > timeout
