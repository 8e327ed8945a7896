# cython: annotation_typing=False
"""Canonical cells to JSON in `iso` style, appended to one buffer. The hot half of the encoder.

A column's *form* says how its canonical bytes become a JSON value; it is chosen once per table version (`cdc.encode.forms`).
A hot module: compiled where there is a compiler (see the sibling `.pxd`), and the same source interpreted elsewhere.
"""

from __future__ import annotations

from binascii import b2a_base64

from orjson import dumps

from cdc.model.row import Row

RAW = 0  # already JSON: integers, booleans, arrays, objects
PLAIN = 1  # quoted, nothing in it needs escaping: decimals, times, uuid, bits
ESCAPED = 2  # quoted and escaped: text
BASE64 = 3  # quoted base64 of raw bytes
FLOAT = 4  # raw, but NaN and the infinities quoted


def append_row(out: bytearray, row: Row, names: list[bytes], forms: bytes) -> int:
    """Append a row as a JSON object without its unchanged cells; returns how many there were.

    `names[i]` is `,"name":` with the name escaped; `forms` has one byte a column.
    """
    data = row.data
    at = row.start
    opening = len(out)
    unchanged = 0
    for i in range(row.count):
        kind = data[at]
        at += 1
        if kind == 0x74:
            length = data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
            at += 4 + length
            out += names[i]
            append_value(out, data, at - length, at, forms[i])
        elif kind == 0x6E:
            out += names[i]
            out += b"null"
        else:
            unchanged += 1
    if len(out) == opening:
        out += b"{}"
    else:
        out[opening] = 0x7B  # the first name's comma becomes the brace
        out.append(0x7D)
    return unchanged


def append_value(out: bytearray, data: bytes, start: int, end: int, form: int) -> None:
    """Append one canonical value in its form."""
    if form == 2:
        out.append(0x22)
        append_escaped(out, data, start, end)
        out.append(0x22)
    elif form == 0:
        out += data[start:end]
    elif form == 1:
        out.append(0x22)
        out += data[start:end]
        out.append(0x22)
    elif form == 3:
        out.append(0x22)
        out += b2a_base64(data[start:end], newline=False)
        out.append(0x22)
    elif data[end - 1] > 0x39:  # NaN and Infinity end in a letter, every finite float in a digit
        out.append(0x22)
        out += data[start:end]
        out.append(0x22)
    else:
        out += data[start:end]


def append_escaped(out: bytearray, data: bytes, start: int, end: int) -> None:
    """Append UTF-8 text with `"`, `\\` and control characters escaped, without its quotes."""
    text = data[start:end]
    if is_plain(text):
        out += text
    else:
        out += dumps(text.decode("utf-8"))[1:-1]


def is_plain(text: bytes) -> bool:
    """Whether a JSON string can hold these bytes as they are."""
    return text.translate(None, _SPECIAL) == text


def unchanged_names(row: Row, names: list[bytes]) -> bytes:
    """The JSON names (without comma and colon) of the cells that the log did not carry, as the inside of an array."""
    found = []
    data = row.data
    at = row.start
    for i in range(row.count):
        kind = data[at]
        at += 1
        if kind == 0x74:
            at += 4 + (data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3])
        elif kind != 0x6E:
            found.append(names[i][1:-1])
    return b",".join(found)


_SPECIAL = bytes(range(0x20)) + b'"\\'
