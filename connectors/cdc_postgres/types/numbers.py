"""Boolean and money. Integers, floats and numeric need no reader: the server's text is canonical.

Manual: "Numeric Types", "Monetary Types", "Boolean Type".
"""

from __future__ import annotations

from typing import Final

from cdc_postgres.types.misfit import Misfit

_MINUS_SIGNS: Final = (b"-", b"(")


def read_bool(text: bytes) -> bytes:
    """`t` and `f` to `true` and `false`."""
    if text == b"t":
        return b"true"
    if text == b"f":
        return b"false"
    raise Misfit("boolean")


def read_money(text: bytes) -> bytes:
    """`-$1,234.50` to `-1234.50`. In the pinned locale C the symbol is `$`; a locale may write minus as parentheses."""
    digits = text.translate(None, b"-($, )")
    if not digits.replace(b".", b"", 1).isdigit():
        raise Misfit("money")
    return b"-" + digits if any(sign in text for sign in _MINUS_SIGNS) else digits
