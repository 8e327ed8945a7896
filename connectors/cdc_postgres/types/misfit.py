"""What a reader is, and what it raises when the text has not the shape of the declared type.

A scalar of a built-in type cannot change; text that does not fit it means an unpinned session or a broken stream, and
is an error for the operator. Inside a container a misfit decides for the server's own text: see `plans.or_server_text`.
"""

from __future__ import annotations

from collections.abc import Callable

from cdc.errors import DataError

Reader = Callable[[bytes], bytes]


class Misfit(DataError):
    """The server's text of a value is not what `type_name` looks like. Carries no value."""

    def __init__(self, type_name: str) -> None:
        super().__init__(
            f"a value of type {type_name} has not the text form of that type",
            fault="unreadable-value",
            action="Report this with the server's version; something changes the session's DateStyle or bytea_output.",
        )


class NotUtf8(DataError):
    """Text that is not UTF-8 though the session asked for it: JSON cannot hold it."""

    def __init__(self) -> None:
        super().__init__(
            "a value is not valid UTF-8",
            fault="invalid-encoding",
            action="Correct the value; outside arrays and composites CDC_INVALID_TEXT=base64 lets it pass.",
        )
