"""Ask a running connector how it is. Only what the standard library loads quickly: probes start a process each time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

# sockaddr_un.sun_path is 108 bytes with its final NUL (unix(7)); a longer path goes through its folder's descriptor.
LONGEST_ADDRESS: Final = 107
_LONGEST_ANSWER: Final = 1 << 20


@contextmanager
def address(path: Path) -> Iterator[str]:
    """What to bind or connect to for a socket at `path`; valid inside the block."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def ask(path: Path, timeout: float = 5.0) -> dict[str, Any]:
    """The health document. Raises OSError where nobody answers, ValueError where the answer is not one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        with address(path) as place:
            connection.connect(place)
        answer = json.loads(_all(connection))
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004 - as for any other answer that is not ours
    return answer


def _all(connection: socket.socket) -> bytes:
    answer = b""
    while len(answer) < _LONGEST_ANSWER and (part := connection.recv(1 << 16)):
        answer += part
    return answer
