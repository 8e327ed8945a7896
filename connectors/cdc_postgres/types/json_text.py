"""Canonical values as JSON, `iso` style: for what stands inside an array, a composite or a map.

A column's own value is rendered by the encoder; the forms here are the same (docs/types.md).
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable
from typing import Final

from orjson import dumps

from cdc.model.types import LogicalType
from cdc_postgres.types.misfit import Misfit

_SPECIAL: Final = bytes(range(0x20)) + b'"\\'
NUMBER: Final = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
_NUMBER = re.compile(NUMBER)
_NOT_FINITE: Final = {b"NaN": b'"NaN"', b"Infinity": b'"Infinity"', b"-Infinity": b'"-Infinity"'}


def json_string(text: bytes) -> bytes:
    """UTF-8 text as a JSON string; only `"`, backslash and control characters are escaped."""
    if text.translate(None, _SPECIAL) == text:
        return b'"' + text + b'"'
    return dumps(text.decode())


def json_base64(raw: bytes) -> bytes:
    """Raw bytes as a JSON string of base64 (RFC 4648, padded)."""
    return b'"' + b2a_base64(raw, newline=False) + b'"'


def json_number(text: bytes) -> bytes:
    """Integers and floats as they are; what no JSON number can hold is a string: `"NaN"`, `"-Infinity"`."""
    if _NUMBER.fullmatch(text):
        return text
    quoted = _NOT_FINITE.get(text)
    if quoted is None:
        raise Misfit("number")
    return quoted


def as_it_is(json: bytes) -> bytes:
    return json


_NUMBERS: Final = (
    LogicalType.INT16,
    LogicalType.INT32,
    LogicalType.INT64,
    LogicalType.UINT32,
    LogicalType.FLOAT32,
    LogicalType.FLOAT64,
)
_ALREADY_JSON: Final = (
    LogicalType.BOOL,
    LogicalType.ARRAY,
    LogicalType.COMPOSITE,
    LogicalType.MAP,
    LogicalType.VECTOR,
)
_FORMS: Final[dict[LogicalType, Callable[[bytes], bytes]]] = {
    **dict.fromkeys(_NUMBERS, json_number),
    **dict.fromkeys(_ALREADY_JSON, as_it_is),
    **dict.fromkeys((LogicalType.BYTES, LogicalType.SPATIAL), json_base64),
}


def json_element(logical: LogicalType) -> Callable[[bytes], bytes]:
    """How a canonical value of this type is written inside JSON. Types without an entry of their own are strings."""
    return _FORMS.get(logical, json_string)
