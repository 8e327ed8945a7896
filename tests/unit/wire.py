"""pgoutput messages built by hand, field by field as the manual lists them; the decoder's tests read from here."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Cell = bytes | None | str  # "u" stands for an unchanged TOAST value


def xlog(payload: bytes, start: int = 0x100, end: int = 0x200) -> bytes:
    return b"w" + struct.pack(">QQQ", start, end, 0) + payload


def begin(final: int = 0x5000, xid: int = 77, commit_us: int = 700_000_000_000_000) -> bytes:
    return xlog(b"B" + struct.pack(">QqI", final, commit_us, xid))


def commit(final: int = 0x5000, end: int = 0x5030) -> bytes:
    return xlog(b"C\0" + struct.pack(">QQq", final, end, 0))


def origin(name: str = "node_b", lsn: int = 0x42) -> bytes:
    return xlog(b"O" + struct.pack(">Q", lsn) + name.encode() + b"\0")


def relation(
    columns: Sequence[tuple[str, bool, int]], oid: int = 1, schema: str = "public", name: str = "t", identity: str = "d"
) -> bytes:
    head = b"R" + struct.pack(">I", oid) + schema.encode() + b"\0" + name.encode() + b"\0" + identity.encode()
    body = b"".join(
        bytes([key]) + column.encode() + b"\0" + struct.pack(">Ii", type_oid, -1) for column, key, type_oid in columns
    )
    return xlog(head + struct.pack(">H", len(columns)) + body)


def type_name(oid: int = 20000, schema: str = "public", name: str = "mood") -> bytes:
    return xlog(b"Y" + struct.pack(">I", oid) + schema.encode() + b"\0" + name.encode() + b"\0")


def row(cells: Sequence[Cell]) -> bytes:
    out = struct.pack(">H", len(cells))
    for cell in cells:
        if cell is None:
            out += b"n"
        elif isinstance(cell, str):
            out += cell.encode()
        else:
            out += b"t" + struct.pack(">I", len(cell)) + cell
    return out


def insert(cells: Sequence[Cell], oid: int = 1, start: int = 0x100) -> bytes:
    return xlog(b"I" + struct.pack(">I", oid) + b"N" + row(cells), start)


def update(cells: Sequence[Cell], old: Sequence[Cell] | None = None, kind: bytes = b"K", oid: int = 1) -> bytes:
    before = b"" if old is None else kind + row(old)
    return xlog(b"U" + struct.pack(">I", oid) + before + b"N" + row(cells))


def delete(old: Sequence[Cell], kind: bytes = b"K", oid: int = 1) -> bytes:
    return xlog(b"D" + struct.pack(">I", oid) + kind + row(old))


def truncate(*oids: int) -> bytes:
    return xlog(b"T" + struct.pack(">Ib", len(oids), 0) + b"".join(struct.pack(">I", oid) for oid in oids))


def message(prefix: str, content: bytes, transactional: bool, lsn: int = 0x300) -> bytes:
    return xlog(
        b"M"
        + struct.pack(">BQ", int(transactional), lsn)
        + prefix.encode()
        + b"\0"
        + struct.pack(">I", len(content))
        + content
    )
