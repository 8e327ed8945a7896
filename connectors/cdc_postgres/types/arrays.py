r"""Arrays of any dimension: `[0:1]={{1,NULL},{"a b","c\"d"}}` to JSON, one level per dimension, lower bounds dropped.

Manual: "Arrays", "Array Input and Output Syntax". The delimiter between elements is the element type's (`;` for box).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from cdc_postgres.types.misfit import Misfit, Reader

MAX_DIMENSIONS: Final = 6  # the server's MAXDIM: what is nested deeper was not written by array_out
_BOUNDS = re.compile(rb"(?:\[-?[0-9]{1,10}:-?[0-9]{1,10}\]){1,6}+=")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_NESTED_OR_QUOTED: Final = b'{}"\\'


def array_reader(element: Reader, delimiter: str) -> Reader:
    """A reader of arrays whose elements `element` turns from the server's text into JSON."""
    separator = delimiter.encode()
    read_nested = _nested_reader(element, separator)

    def read(text: bytes) -> bytes:
        start = _after_bounds(text)
        body = text[start + 1 : -1]
        if text[start : start + 1] != b"{" or text[-1:] != b"}" or len(text) < start + 2:
            raise Misfit("array")
        if not body:
            return b"[]"
        if body.translate(None, _NESTED_OR_QUOTED) != body:
            return read_nested(text, start)
        items = body.split(separator)
        if b"" in items:
            raise Misfit("array")
        return b"[" + b",".join([b"null" if item == b"NULL" else element(item) for item in items]) + b"]"

    return read


def _after_bounds(text: bytes) -> int:
    """Where the elements begin: after `[1:3][0:1]=`, which stands there when a lower bound is not 1."""
    if text[:1] != b"[":
        return 0
    found = _BOUNDS.match(text)
    if found is None:
        raise Misfit("array")
    return found.end()


def _token(separator: bytes) -> re.Pattern[bytes]:
    """One element: braces opened before it, itself quoted or bare, braces closed after it, the delimiter or the end."""
    bare = rb'([^{}"\\' + re.escape(separator) + rb"]++)"
    return re.compile(
        rb'(\{*+)(?:"((?:[^"\\]++|\\.)*+)"|' + bare + rb")(\}*+)(" + re.escape(separator) + rb"|\Z)", re.DOTALL
    )


def _nested_reader(element: Reader, separator: bytes) -> Callable[[bytes, int], bytes]:
    token = _token(separator)

    def read(text: bytes, at: int) -> bytes:
        out: list[bytes] = []
        depth = dimensions = 0
        while found := token.match(text, at):
            opened, quoted, bare, closed, more = found.groups()
            depth += len(opened)
            dimensions = dimensions or depth
            if depth != dimensions or depth > MAX_DIMENSIONS:
                break
            out += (b"[" * len(opened), _value(element, quoted, bare), b"]" * len(closed), b"," if more else b"")
            depth -= len(closed)
            at = found.end()
            if not more and depth == 0 and at == len(text):
                return b"".join(out)
            if not more or depth <= 0:
                break
        raise Misfit("array")

    return read


def _value(element: Reader, quoted: bytes | None, bare: bytes) -> bytes:
    if quoted is None:
        return b"null" if bare == b"NULL" else element(bare)
    return element(_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
