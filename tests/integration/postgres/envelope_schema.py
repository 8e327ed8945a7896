"""Every event that a scenario reads is held against the published JSON Schema of the envelope."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema
import orjson

SCHEMA = Path(__file__).parents[3] / "config" / "schema" / "envelope.schema.json"


@cache
def _validator() -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = fastjsonschema.compile(orjson.loads(SCHEMA.read_bytes()))
    return made


def validate(value: Any) -> None:
    """Raises JsonSchemaValueException with the path of what is wrong."""
    if SCHEMA.exists():
        _validator()(value)
