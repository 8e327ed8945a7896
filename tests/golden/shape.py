"""What two engines' records are compared by: names of fields, kinds of JSON, and where null is. No value, save those that name a thing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Shape = dict[str, str]
"""Path → kind: `source.lsn` → `number`. An object and an array stand for themselves too: `before` → `object`."""

# Values that are kept: they are the same whoever runs the script, and say what a record is about.
KEPT = frozenset({"op", "source.connector", "source.schema", "source.table", "source.snapshot", "source.name"})


def kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def shape_of(value: Any, path: str = "") -> Shape:
    """Every path in a document. Text that is JSON by contract (`source.sequence`) is looked into."""
    if path == "source.sequence" and isinstance(value, str):
        value = json.loads(value)
    kind = kind_of(value)
    shape = {path: f"{kind} {value}" if path in KEPT and value is not None else kind} if path else {}
    for name, part in _parts(value):
        shape |= shape_of(part, f"{path}.{name}" if path else name)
    return shape


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(at), part) for at, part in enumerate(value))


def record_shape(topic: str, key: Any, value: Any) -> dict[str, Any]:
    """One record. A key's fields keep their order, which decides its bytes."""
    return {
        "topic": topic,
        "key": None if key is None else [[name, kind_of(part)] for name, part in key.items()],
        "value": None if value is None else shape_of(value),
    }
