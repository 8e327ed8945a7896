"""Logical types, columns and table versions: what a cell means, whatever database it came from.

Values only. A source maps its own types to this closed set; an encoder renders it. docs/types.md lists the canonical form of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class LogicalType(StrEnum):
    """The closed set. The canonical form of each is `bytes`, described beside its name."""

    BOOL = "bool"  # true | false
    INT16 = "int16"  # decimal text
    INT32 = "int32"
    INT64 = "int64"
    UINT32 = "uint32"
    FLOAT32 = "float32"  # shortest text that reads back to the same float; NaN, Infinity, -Infinity
    FLOAT64 = "float64"
    DECIMAL = "decimal"  # digits as the server sent them; NaN, Infinity, -Infinity
    TEXT = "text"  # UTF-8
    BYTES = "bytes"  # raw
    BITS = "bits"  # digits 0 and 1
    DATE = "date"  # ISO 8601 extended, 2024-02-29; -0043-03-15; +294276-12-31; infinity
    TIME = "time"  # 13:14:15.123456; 24:00:00
    TIMETZ = "timetz"  # 13:14:15.123456+02:00
    TIMESTAMP = "timestamp"  # 2024-02-29T13:14:15.123456, no zone
    TIMESTAMPTZ = "timestamptz"  # 2024-02-29T13:14:15.123456Z
    INTERVAL = "interval"  # ISO 8601 duration, P1Y2M3DT4H5M6.7S
    UUID = "uuid"  # lower-case text
    JSON = "json"  # JSON text as the server sent it
    XML = "xml"  # text
    ENUM = "enum"  # label
    ARRAY = "array"  # JSON text, one level per dimension, elements in iso style
    COMPOSITE = "composite"  # JSON object text, values in iso style
    MAP = "map"  # JSON object text
    RANGE = "range"  # server text
    GEOMETRIC = "geometric"  # server text
    SPATIAL = "spatial"  # EWKB
    VECTOR = "vector"  # JSON array text
    SPARSE = "sparse"  # server text


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table at one version.

    `type_name` is the server's own name (`numeric`, `public.mood`). `element` is the logical type of an array's elements.
    `precision` and `scale` are those of the declaration, None where there is none.
    """

    name: str
    type: LogicalType
    type_name: str
    type_id: int
    modifier: int = -1
    element: LogicalType | None = None
    precision: int | None = None
    scale: int | None = None


@dataclass(frozen=True, eq=False)
class TableVersion:
    """A table's shape as the log declared it. Compared by identity: one object for each version a source has seen.

    `key` holds indices into `columns`, in key order; empty for a table without a key. `identity` is the source's own word for
    what an old row carries (PostgreSQL: `d`, `f`, `i`, `n`). `version` counts from 1 and grows with each change of shape.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    identity: str
    version: int
    fingerprint: str = field(default="")

    @property
    def qualified_name(self) -> str:
        return f"{self.schema}.{self.name}"
