"""A row: cells in column order, each in its canonical form, kept as one run of bytes.

The run is what a source's decoder wrote: for each cell one kind byte, then for `TEXT_CELL` a big-endian int32 length and
that many bytes. No object exists per value until somebody asks for one with `cells()`; the encoders walk the run itself.
"""

from __future__ import annotations

import struct
from typing import Final, final

NULL_CELL: Final = 0x6E  # 'n': SQL NULL
UNCHANGED_CELL: Final = 0x75  # 'u': the log did not carry the value
TEXT_CELL: Final = 0x74  # 't': length and canonical bytes follow

_LENGTH = struct.Struct(">i")


@final
class Unchanged:
    """The type of `UNCHANGED`: a cell the log did not carry. Not NULL: the old value still stands."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()

Cell = bytes | None | Unchanged


class Row:
    """`count` cells that begin at `start` of `data`. Bounds were checked by whoever built it."""

    __slots__ = ("count", "data", "start")

    def __init__(self, data: bytes, start: int, count: int) -> None:
        self.data = data
        self.start = start
        self.count = count

    def cells(self) -> list[Cell]:
        """Every cell as an object; for keys, transforms and tests, not for the hot path."""
        found: list[Cell] = []
        data, at = self.data, self.start
        for _ in range(self.count):
            kind = data[at]
            at += 1
            if kind == TEXT_CELL:
                (length,) = _LENGTH.unpack_from(data, at)
                at += 4 + length
                found.append(data[at - length : at])
            else:
                found.append(None if kind == NULL_CELL else UNCHANGED)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self.cells() == other.cells()

    __hash__ = None  # type: ignore[assignment]  # a view over bytes, never a key

    def __repr__(self) -> str:
        return f"Row({self.count} cells)"  # never the values: rows end up in tracebacks


def pack_row(cells: list[Cell]) -> Row:
    """The inverse of `Row.cells`."""
    run = bytearray()
    for cell in cells:
        if cell is None:
            run.append(NULL_CELL)
        elif isinstance(cell, Unchanged):
            run.append(UNCHANGED_CELL)
        else:
            run.append(TEXT_CELL)
            run += _LENGTH.pack(len(cell))
            run += cell
    return Row(bytes(run), 0, len(cells))
