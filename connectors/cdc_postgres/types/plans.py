"""From a type to its reader: chosen once per column when a table version is first seen, never per value.

A plan for a container holds the plans of its parts, so a value is read without asking the catalog again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cdc.model.types import LogicalType
from cdc_postgres.types.arrays import array_reader
from cdc_postgres.types.binary import read_bytea, read_spatial
from cdc_postgres.types.builtin import LOGICAL_TYPES
from cdc_postgres.types.catalog import TypeCatalog, TypeInfo
from cdc_postgres.types.composites import composite_reader
from cdc_postgres.types.datetimes import read_date, read_timestamp, read_timestamptz, read_timetz
from cdc_postgres.types.json_text import as_it_is, json_element, json_string
from cdc_postgres.types.maps import read_hstore
from cdc_postgres.types.misfit import Misfit, NotUtf8, Reader
from cdc_postgres.types.numbers import read_bool, read_money
from cdc_postgres.types.vectors import read_vector

MAX_NESTING: Final = 32
"""Types inside types; what is deeper stays the server's text. The server knows no bound, our stack does."""

READERS: Final[Mapping[int, Reader]] = {
    16: read_bool,
    17: read_bytea,
    790: read_money,
    1082: read_date,
    1114: read_timestamp,
    1184: read_timestamptz,
    1266: read_timetz,
}
EXTENSION_TYPES: Final[Mapping[str, tuple[LogicalType, Reader | None]]] = {
    "hstore": (LogicalType.MAP, read_hstore),
    "vector": (LogicalType.VECTOR, read_vector),
    "halfvec": (LogicalType.VECTOR, read_vector),
    "sparsevec": (LogicalType.SPARSE, None),
    "geometry": (LogicalType.SPATIAL, read_spatial),
    "geography": (LogicalType.SPATIAL, read_spatial),
}
"""By name, because an extension's OIDs differ from database to database and its schema is the operator's choice."""

_JSON_SHAPED: Final = (LogicalType.ARRAY, LogicalType.COMPOSITE, LogicalType.MAP, LogicalType.VECTOR)
_BY_KIND: Final = {
    "c": LogicalType.COMPOSITE,
    "e": LogicalType.ENUM,
    "r": LogicalType.RANGE,
    "m": LogicalType.RANGE,
}


def reader_for(type_oid: int, modifier: int, user_types: Mapping[int, TypeInfo]) -> Reader | None:
    """The reader of a column's values; None where the server's text is canonical.

    Raises `Misfit` when called with text that is not of the type; never for arrays, composites, maps and vectors, which
    are valid JSON whatever the text, save for bytes that are not UTF-8 (`NotUtf8`). No type's text depends on its
    modifier so far.
    """
    plan = _Planner(TypeCatalog(user_types)).plan(type_oid)
    if plan.reader is not None and plan.logical in _JSON_SHAPED:
        return or_server_text(plan.reader)
    return plan.reader


def or_server_text(parse: Reader) -> Reader:
    """`parse`, or the server's text as a JSON string where it does not fit: the one place that decides so.

    A user-defined type may have changed after the shape that we keep of it was read.
    """

    def read(text: bytes) -> bytes:
        if not text.isascii():
            _demand_utf8(text)
        try:
            return parse(text)
        except Misfit:
            return json_string(text)

    return read


def logical_type(catalog: TypeCatalog, oid: int) -> LogicalType:
    """What a type is to us, below all its domains. A type nobody knows is text."""
    info, _ = catalog.base_of(oid)
    if info is None:
        return LogicalType.TEXT
    if info.element:
        return LogicalType.ARRAY
    if info.kind == "b":
        known = LOGICAL_TYPES.get(info.oid)
        return known or _extension_type(info)[0]
    return _BY_KIND.get(info.kind, LogicalType.TEXT)


def _extension_type(info: TypeInfo) -> tuple[LogicalType, Reader | None]:
    return EXTENSION_TYPES.get(info.name.rpartition(".")[2], (LogicalType.TEXT, None))


@dataclass(frozen=True, slots=True)
class _Plan:
    """`reader` goes from the server's text to canonical bytes, `element` from the server's text to JSON."""

    logical: LogicalType
    reader: Reader | None

    @property
    def element(self) -> Reader:
        render = json_element(self.logical)
        return render if self.reader is None else _chain(self.reader, render)


def _chain(reader: Reader, render: Callable[[bytes], bytes]) -> Reader:
    if render is as_it_is:
        return reader
    return lambda text: render(reader(text))


class _Planner:
    """Builds the plan of one column's type; a type that occurs many times inside it is planned once a level."""

    __slots__ = ("_catalog", "_made")

    def __init__(self, catalog: TypeCatalog) -> None:
        self._catalog = catalog
        self._made: dict[tuple[int, int], _Plan] = {}

    def plan(self, oid: int, depth: int = 0) -> _Plan:
        made = self._made.get((oid, depth))
        if made is None:
            made = self._made[oid, depth] = self._make(oid, depth)
        return made

    def _make(self, oid: int, depth: int) -> _Plan:
        info, _ = self._catalog.base_of(oid)
        if info is None or depth > MAX_NESTING:
            return _Plan(LogicalType.TEXT, None)
        logical = logical_type(self._catalog, oid)
        if info.element:
            return _Plan(logical, array_reader(self.plan(info.element, depth + 1).element, info.delimiter))
        if info.kind == "c":
            return _Plan(
                logical, composite_reader([(name, self.plan(of, depth + 1).element) for name, of, _ in info.fields])
            )
        if info.kind == "b" and info.oid not in LOGICAL_TYPES:
            return _Plan(*_extension_type(info))
        return _Plan(logical, READERS.get(info.oid))


def _demand_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise NotUtf8 from None
