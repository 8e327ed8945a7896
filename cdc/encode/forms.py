"""How each logical type looks in JSON, `iso` style: the one table that decides it."""

from __future__ import annotations

from typing import Final

from cdc.encode.json_rows import BASE64, ESCAPED, FLOAT, PLAIN, RAW
from cdc.model.types import LogicalType

FORMS: Final = {
    LogicalType.BOOL: RAW,
    LogicalType.INT16: RAW,
    LogicalType.INT32: RAW,
    LogicalType.INT64: RAW,
    LogicalType.UINT32: RAW,
    LogicalType.FLOAT32: FLOAT,
    LogicalType.FLOAT64: FLOAT,
    LogicalType.DECIMAL: PLAIN,
    LogicalType.TEXT: ESCAPED,
    LogicalType.BYTES: BASE64,
    LogicalType.BITS: PLAIN,
    LogicalType.DATE: PLAIN,
    LogicalType.TIME: PLAIN,
    LogicalType.TIMETZ: PLAIN,
    LogicalType.TIMESTAMP: PLAIN,
    LogicalType.TIMESTAMPTZ: PLAIN,
    LogicalType.INTERVAL: PLAIN,
    LogicalType.UUID: PLAIN,
    LogicalType.JSON: ESCAPED,
    LogicalType.XML: ESCAPED,
    LogicalType.ENUM: ESCAPED,
    LogicalType.ARRAY: RAW,
    LogicalType.COMPOSITE: RAW,
    LogicalType.MAP: RAW,
    LogicalType.RANGE: ESCAPED,
    LogicalType.GEOMETRIC: ESCAPED,
    LogicalType.SPATIAL: BASE64,
    LogicalType.VECTOR: RAW,
    LogicalType.SPARSE: ESCAPED,
}
