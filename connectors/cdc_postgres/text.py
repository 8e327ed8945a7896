"""Text of a database that does not promise UTF-8 (SQL_ASCII): checked per value, only there."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from cdc.errors import DataError


def text_reader(policy: str) -> Callable[[str, str], Callable[[bytes], bytes]]:
    """For a column of a table: a reader that passes UTF-8, and halts on or base64-encodes anything else (CDC_INVALID_TEXT)."""

    def for_column(table: str, column: str) -> Callable[[bytes], bytes]:
        def read(cell: bytes) -> bytes:
            try:
                cell.decode("utf-8")
            except UnicodeDecodeError:
                if policy == "base64":
                    return b64encode(cell)
                raise DataError(
                    f"table {table}, column {column}: a value is not UTF-8",
                    fault="invalid-encoding",
                    action="Correct the value, or set CDC_INVALID_TEXT=base64.",
                ) from None
            return cell

        return read

    return for_column
