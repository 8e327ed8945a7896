"""The `source` block as JSON: a layout compiled to fragments, so that a row writes only its own slots.

Three stages. For a table: constants and the table's own values are rendered, what is left are holes. For a transaction: its holes are
filled. What remains are the fragments between the places where a row writes its offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orjson import dumps

from cdc import __version__
from cdc.model.event import Transaction
from cdc.model.source_block import Constant, Fact, Slot, SourceLayout, Text
from cdc.model.types import TableVersion

Piece = bytes | Slot | Fact | Text
_COMMIT = {Slot.COMMIT_MS: 1000, Slot.COMMIT_US: 1, Slot.COMMIT_NS: 0}


class SourceTemplate:
    """The block of one table (None: of a logical message)."""

    def __init__(self, layout: SourceLayout, name: str, table: TableVersion | None) -> None:
        table_values: dict[Slot, Any] = {
            Slot.NAME: name,
            Slot.VERSION: __version__,
            Slot.SCHEMA: table.schema if table else "",
            Slot.TABLE: table.name if table else "",
            Slot.SCHEMA_VERSION: table.version if table else None,
        }
        pieces: list[Piece] = []
        for field, value in layout.fields:
            _add(pieces, (b"," if pieces else b"{") + dumps(field) + b":")
            if isinstance(value, Constant):
                _add(pieces, dumps(value.value))
            elif isinstance(value, Slot) and value in table_values:
                _add(pieces, dumps(table_values[value]))
            else:
                pieces.append(value)
        _add(pieces, b"}")
        self._pieces = pieces

    def fragments(self, transaction: Transaction | None) -> tuple[bytes, ...]:
        """The block around its offsets: one fragment more than there are places for the offset."""
        done: list[bytes] = [b""]
        for piece in self._pieces:
            if isinstance(piece, bytes):
                done[-1] += piece
            elif piece is Slot.OFFSET:
                done.append(b"")
            elif isinstance(piece, Text):
                _fill_text(done, piece.parts, transaction)
            else:
                done[-1] += dumps(_value(piece, transaction))
        return tuple(done)


def _add(pieces: list[Piece], text: bytes) -> None:
    if pieces and isinstance(pieces[-1], bytes):
        pieces[-1] += text
    else:
        pieces.append(text)


def _value(piece: Slot | Fact, transaction: Transaction | None) -> str | int | None:
    if transaction is None:
        return None
    if isinstance(piece, Fact):
        return transaction.facts[piece.index]
    divisor = _COMMIT[piece]
    return transaction.commit_us // divisor if divisor else transaction.commit_us * 1000


def _fill_text(done: list[bytes], parts: Sequence[str | Fact | Slot], transaction: Transaction | None) -> None:
    """A string of parts; the parts' quotes are escaped, digits and null go in as they are."""
    done[-1] += b'"'
    for part in parts:
        if part is Slot.OFFSET:
            done.append(b"")
        elif isinstance(part, str):
            done[-1] += dumps(part)[1:-1]
        else:
            done[-1] += dumps(_quoted(_value(part, transaction)))[1:-1]
    done[-1] += b'"'


def _quoted(value: str | int | None) -> str:
    return "null" if value is None else f'"{value}"'
