"""The log sequence number: 64 bits, written `X/Y` in upper-case hex (PostgreSQL manual, "pg_lsn Type")."""

from __future__ import annotations


def format_lsn(value: int) -> str:
    """`0x16B3748` → `0/16B3748`, as the server writes it."""
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Raises ValueError for what is not an LSN."""
    high, slash, low = text.partition("/")
    if not slash or not 0 < len(high) <= 8 or not 0 < len(low) <= 8:
        raise ValueError(f"not an LSN: {text[:40]!r}")
    return int(high, 16) << 32 | int(low, 16)
