"""A column of a table: its logical type, the server's name for its type, and what the type modifier declares.

Manual: "pg_attribute", atttypmod. The modifier's coding is each type's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cdc.model.types import Column
from cdc_postgres.types.catalog import TypeCatalog, TypeInfo
from cdc_postgres.types.plans import logical_type

MONEY: Final = 790
Declared = tuple[int | None, int | None]  # precision, scale


def column_for(name: str, type_oid: int, modifier: int, user_types: Mapping[int, TypeInfo]) -> Column:
    """A column as the log declares it; `modifier` is kept as it stands there.

    `type_name` is pg_type's: `int4`, `public.mood`, a domain's own name, and `int4[]` for an array of any dimension.
    `precision` and `scale` are the declaration's, an array's those of its elements: digits of numeric; the length of
    char, varchar, bit and varbit; digits of a second for times; the dimensions of a vector. money has the scale 2 of
    the pinned locale.
    """
    catalog = TypeCatalog(user_types)
    base, declared = catalog.base_of(type_oid, modifier)
    element = None
    if base is not None and base.element:
        element = logical_type(catalog, base.element)
        base, declared = catalog.base_of(base.element, declared)
    precision, scale = _declared(base, declared)
    logical = logical_type(catalog, type_oid)
    return Column(name, logical, _type_name(catalog, type_oid), type_oid, modifier, element, precision, scale)


def _type_name(catalog: TypeCatalog, oid: int) -> str:
    info = catalog.lookup(oid)
    if info is None:
        return f"oid {oid}"
    element = catalog.lookup(info.element) if info.element else None
    return info.name if element is None else f"{element.name}[]"


def _declared(base: TypeInfo | None, modifier: int) -> Declared:
    if base is None or base.kind != "b":
        return None, None
    if base.oid == MONEY:
        return None, 2
    decode = _MODIFIERS.get(base.name.rpartition(".")[2])
    return (None, None) if decode is None or modifier < 0 else decode(modifier)


def _numeric(modifier: int) -> Declared:
    """Precision in the upper half; the scale is 11 bits with a sign (before 15: 0 to 1000, the same bits)."""
    packed = modifier - 4
    return packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024


def _interval(modifier: int) -> Declared:
    """The lower half; the upper one names the fields, such as DAY TO SECOND."""
    precision = modifier & 0xFFFF
    return None if precision == 0xFFFF else precision, None


def _length_after_header(modifier: int) -> Declared:
    return modifier - 4, None


def _as_declared(modifier: int) -> Declared:
    return modifier, None


_MODIFIERS: Final[Mapping[str, Callable[[int], Declared]]] = {
    "numeric": _numeric,
    "interval": _interval,
    "bpchar": _length_after_header,
    "varchar": _length_after_header,
    **dict.fromkeys(("bit", "varbit", "time", "timetz", "timestamp", "timestamptz"), _as_declared),
    **dict.fromkeys(("vector", "halfvec", "sparsevec"), _as_declared),
}
