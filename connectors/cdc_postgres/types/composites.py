"""Composite values: `(1,"a b",)` to a JSON object keyed by the fields' names, in their order.

Manual: "Composite Types", "Composite Type Input and Output Syntax". A field left empty is NULL; quotes and backslashes
inside quotes are doubled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cdc_postgres.types.json_text import json_string
from cdc_postgres.types.misfit import Misfit, Reader

_FIELD = re.compile(rb'(?:"((?:[^"\\]++|""|\\.)*+)"|([^",()\\]*+))([,)])', re.DOTALL)
_DOUBLED = re.compile(rb'(?:"(")|\\(.))', re.DOTALL)


def composite_reader(fields: Sequence[tuple[str, Reader]]) -> Reader:
    """A reader of composites with these fields, in the order of their attribute numbers."""
    plan = [(json_string(name.encode()) + b":", element) for name, element in fields]

    def read(text: bytes) -> bytes:
        values = _split(text)
        if not plan and values == [None]:
            return b"{}"
        if len(values) != len(plan):
            raise Misfit("composite")
        parts = [
            name + (b"null" if value is None else element(value))
            for (name, element), value in zip(plan, values, strict=True)
        ]
        return b"{" + b",".join(parts) + b"}"

    return read


def _split(text: bytes) -> list[bytes | None]:
    if text[:1] != b"(":
        raise Misfit("composite")
    values: list[bytes | None] = []
    at = 1
    while found := _FIELD.match(text, at):
        quoted, bare, end = found.groups()
        values.append((bare or None) if quoted is None else _unquoted(quoted))
        at = found.end()
        if end == b")":
            break
    if found is None or at != len(text):
        raise Misfit("composite")
    return values


def _unquoted(content: bytes) -> bytes:
    if b"\\" in content:
        return _DOUBLED.sub(rb"\1\2", content)
    return content.replace(b'""', b'"')
