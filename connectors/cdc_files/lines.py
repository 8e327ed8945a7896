"""A record as one line: `{"topic":…,"key":…,"value":…}`, and `"headers"` where there are any.

Key and value that are JSON documents stand in the line as they are; null where there is none. Other bytes stand under
`"key_base64"` or `"value_base64"` instead, so that every line is a JSON document and nothing is lost.
"""

from __future__ import annotations

from base64 import b64encode

import orjson

from cdc.model.record import Record


def line(record: Record) -> bytes:
    """The record as JSON text that ends with its only newline."""
    parts = (b'{"topic":', orjson.dumps(record.topic), _member(b"key", record.key), _member(b"value", record.value))
    headers = record.headers
    return b"".join(parts) + (b"}\n" if not headers else b',"headers":' + orjson.dumps(_told(headers)) + b"}\n")


def _member(name: bytes, data: bytes | None) -> bytes:
    if data is None:
        return b',"' + name + b'":null'
    if b"\n" not in data and data != b"null" and _is_json(data):
        return b',"' + name + b'":' + data
    return b',"' + name + b'_base64":"' + b64encode(data) + b'"'


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _told(headers: list[tuple[str, bytes]]) -> list[tuple[str, object]]:
    """Names may repeat, so they are pairs; a value is a string, or `{"base64": …}` where it is not UTF-8."""
    return [(name, _text(value)) for name, value in headers]


def _text(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
