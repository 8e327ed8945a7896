"""Text of a database that does not promise UTF-8 (SQL_ASCII): checked per value, only there."""

from __future__ import annotations

from base64 import b64encode

from cdc_postgres.types.misfit import NotUtf8, Reader


def text_reader(policy: str) -> Reader:
    """Passes UTF-8, and refuses or base64-encodes anything else (CDC_INVALID_TEXT)."""

    def read(cell: bytes) -> bytes:
        try:
            cell.decode("utf-8")
        except UnicodeDecodeError:
            if policy == "base64":
                return b64encode(cell)
            raise NotUtf8 from None
        return cell

    return read
