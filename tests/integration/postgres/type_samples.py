"""What a row of the types' table is made of (`type_cases.py`), and the `iso` style once more in the plainest words.

Nothing here calls the code under test.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cdc.model.types import LogicalType


@dataclass(frozen=True, slots=True)
class Sample:
    """A value as text for the type's input function, and the canonical bytes that must come out."""

    literal: str
    canonical: bytes


@dataclass(frozen=True, slots=True)
class TypeCase:
    """One SQL type.

    `row` is its line in the documentation's table. `server` is an expression over `v` by which the server itself computes what
    `seen` makes of our canonical bytes: a second opinion beside `values`. `server_json` says that the server's to_json writes
    the value as we do. `since` is the first version that has the type; an edge may ask for a later one.
    """

    sql: str
    row: str
    logical: LogicalType
    values: SearchStrategy[Sample]
    edges: tuple[Sample, ...] = ()
    later_edges: tuple[tuple[int, Sample], ...] = ()
    since: int = 13
    extension: str = ""
    setup: tuple[str, ...] = ()
    delimiter: str = ","
    server: str = ""
    seen: Callable[[bytes], str] = field(default=bytes.decode)
    server_json: bool = False

    def edges_on(self, version: int) -> list[Sample]:
        return [*self.edges, *(sample for since, sample in self.later_edges if version >= since)]


def iso(logical: LogicalType, canonical: bytes) -> Any:
    """A canonical value as `iso` JSON, parsed: numbers exact. The contract's §6 and §7 once more, in the plainest words."""
    text = canonical if logical in RAW_BYTES else canonical.decode()
    if isinstance(text, bytes):
        return base64.b64encode(text).decode()
    if logical in NUMBERS and text not in {"NaN", "Infinity", "-Infinity"}:
        return Float(text, FLOATS[logical]) if logical in FLOATS else Decimal(text)
    if logical in JSON_SHAPED:
        return parse_json(text)
    return text


@dataclass(frozen=True)
class Float:
    """A float, equal to any number that is rounded to the same bits.

    The server prints the shortest text that reads back to the same float whichever way a tie is rounded: not always
    Python's, and not always the text that went in.
    """

    text: str
    format: str

    def __eq__(self, other: object) -> bool:
        text = other.text if isinstance(other, Float) else str(other)
        return struct.pack(self.format, float(text)) == struct.pack(self.format, float(self.text))

    __hash__ = None  # type: ignore[assignment]  # only ever compared


def parse_json(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


RAW_BYTES = (LogicalType.BYTES, LogicalType.SPATIAL)
NUMBERS = (
    LogicalType.INT16,
    LogicalType.INT32,
    LogicalType.INT64,
    LogicalType.UINT32,
    LogicalType.FLOAT32,
    LogicalType.FLOAT64,
)
FLOATS = {LogicalType.FLOAT32: "f", LogicalType.FLOAT64: "d"}
JSON_SHAPED = (LogicalType.BOOL, LogicalType.ARRAY, LogicalType.COMPOSITE, LogicalType.MAP, LogicalType.VECTOR)


Values = Sequence[Sample | None]

# Building blocks


def same(*texts: str) -> tuple[Sample, ...]:
    """Samples whose canonical form is the literal."""
    return tuple(Sample(text, text.encode()) for text in texts)


def pairs(*given: tuple[str, str]) -> tuple[Sample, ...]:
    return tuple(Sample(literal, canonical.encode()) for literal, canonical in given)


def quoted(text: str) -> str:
    """An SQL string constant."""
    return "'" + text.replace("'", "''") + "'"


def one_of(samples: Iterable[Sample]) -> SearchStrategy[Sample]:
    return st.sampled_from(list(samples))


def unchanged(texts: SearchStrategy[str]) -> SearchStrategy[Sample]:
    return texts.map(lambda text: Sample(text, text.encode()))


def whole(lowest: int, highest: int) -> SearchStrategy[Sample]:
    return unchanged(st.integers(lowest, highest).map(str))


_ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_NASTY = st.sampled_from("{}()[]<>\"'\\,;:= \t\n\r\x01\x7fNULnul%$é日\U0001f600\u2028")


def texts(longest: int) -> SearchStrategy[str]:
    return st.text(_NASTY, max_size=longest) | st.text(_ANY, max_size=longest) | st.sampled_from(["NULL"[:longest], ""])


NASTY_TEXTS = same(
    "", " ", "NULL", "null", '"', "\\", "\\\\", '\\"', "{}", "{a,b}", "(a,b)", "a\nb\tc\r\x01", "日本 €", "'"
)

COORDINATES = st.integers(-4_000, 4_000).map(lambda eighths: f"{eighths / 8:g}")
"""Floats that every printer of floats prints alike."""


# What to send, and what it means


def array_text(values: Sequence[Any], delimiter: str) -> str:
    """An array constant; nested lists are dimensions."""
    return "{" + delimiter.join(_element(value, delimiter) for value in values) + "}"


def _element(value: Any, delimiter: str) -> str:
    if isinstance(value, list):
        return array_text(value, delimiter)
    if value is None:
        return "NULL"
    literal: str = value.literal
    return '"' + literal.replace("\\", "\\\\").replace('"', '\\"') + '"'


def in_twos(values: Values) -> list[list[Sample | None]]:
    """Two columns; the last row is filled up with NULL."""
    padded = [*values, None] if len(values) % 2 else list(values)
    return [padded[i : i + 2] for i in range(0, len(padded), 2)]


def meaning(case: TypeCase, value: Any) -> Any:
    """What a value, or a list of values, is in JSON."""
    if isinstance(value, list):
        return [meaning(case, item) for item in value]
    return None if value is None else iso(case.logical, value.canonical)


def keeps_its_shape(case: TypeCase, value: Sample) -> bool:
    """False for text that a stand-in takes although it is not of the type: it turns all that holds it into text."""
    return not (case.logical is LogicalType.VECTOR and value.canonical.startswith(b'"'))
