"""bytea and PostGIS values: hexadecimal digits to raw bytes.

Manual: "Binary Data Types", `bytea_output=hex`. PostGIS prints geometry and geography as hexadecimal EWKB.
"""

from __future__ import annotations

from binascii import Error, unhexlify

from cdc_postgres.types.misfit import Misfit


def read_bytea(text: bytes) -> bytes:
    r"""`\x00ff` to two bytes."""
    if text[:2] != b"\\x":
        raise Misfit("bytea")
    return _unhexlify(text[2:], "bytea")


def read_spatial(text: bytes) -> bytes:
    """`0101000020E6…` to EWKB."""
    return _unhexlify(text, "geometry")


def _unhexlify(digits: bytes, type_name: str) -> bytes:
    try:
        return unhexlify(digits)
    except Error:
        raise Misfit(type_name) from None
