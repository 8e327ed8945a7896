"""What the server's catalog knows of a user-defined type, as a value, and the one query that reads it.

Manual: "pg_type", "pg_attribute", "pg_enum", "pg_range". The value is kept in the checkpoint with the table version
that it explains, because the live catalog never explains an old event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cdc_postgres.types.builtin import BUILTIN_TYPES


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """One row of pg_type and what hangs on it.

    `name` is `schema.name`, without the schema for pg_catalog. `kind` is typtype: b, c, d, e, r, m. `element` is
    typelem of a true array, else 0 (point and name have a typelem, too). `base` and `base_modifier` are a domain's.
    `fields` are (name, type OID, modifier) of a composite's attributes that are not dropped, in order. `labels` are an
    enum's, in order. `range_subtype` is that of a range or of a multirange's range.
    """

    oid: int
    name: str
    kind: str
    category: str = "U"
    delimiter: str = ","
    element: int = 0
    base: int = 0
    base_modifier: int = -1
    fields: tuple[tuple[str, int, int], ...] = ()
    labels: tuple[str, ...] = ()
    range_subtype: int = 0

    def to_json(self) -> dict[str, Any]:
        """For the checkpoint: only JSON's own types."""
        return {**asdict(self), "fields": [list(field) for field in self.fields], "labels": list(self.labels)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TypeInfo:
        """The inverse of `to_json`; ignores what a later version may have added."""
        known = {name: stored[name] for name in cls.__slots__ if name in stored}
        known["fields"] = tuple((name, oid, modifier) for name, oid, modifier in known.get("fields", ()))
        known["labels"] = tuple(known.get("labels", ()))
        return cls(**known)


def _built_in() -> dict[int, TypeInfo]:
    found = {}
    for name, oid, array, kind, category, delimiter, subtype, _ in BUILTIN_TYPES:
        found[oid] = TypeInfo(oid, name, kind, category, delimiter, range_subtype=subtype)
        if array:
            found[array] = TypeInfo(array, "_" + name, "b", "A", delimiter, element=oid)
    return found


BUILT_IN: Final[Mapping[int, TypeInfo]] = _built_in()


class TypeCatalog:
    """The built-in types and those of one table version."""

    __slots__ = ("_user_types",)

    def __init__(self, user_types: Mapping[int, TypeInfo]) -> None:
        self._user_types = user_types

    def lookup(self, oid: int) -> TypeInfo | None:
        """None for a type that neither knows."""
        return BUILT_IN.get(oid) or self._user_types.get(oid)

    def base_of(self, oid: int, modifier: int = -1) -> tuple[TypeInfo | None, int]:
        """The type below all domains, and the modifier that holds there."""
        info = self.lookup(oid)
        seen = set()
        while info is not None and info.kind == "d" and info.oid not in seen:
            seen.add(info.oid)  # a damaged catalog may go round in circles
            modifier = info.base_modifier if modifier == -1 else modifier
            info = self.lookup(info.base)
        return info, modifier


CATALOG_QUERY: Final = """\
WITH RECURSIVE reachable (oid) AS (
    SELECT pg_catalog.unnest($1::pg_catalog.oid[])
    UNION
    SELECT part.oid
    FROM reachable
    JOIN pg_catalog.pg_type AS t ON t.oid = reachable.oid
    CROSS JOIN LATERAL (
        SELECT t.typelem WHERE t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc
        UNION ALL
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL
        SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS part (oid)
)
SELECT pg_catalog.json_build_object(
    'oid', t.oid::pg_catalog.int8,
    'name', CASE n.nspname WHEN 'pg_catalog' THEN t.typname::pg_catalog.text ELSE n.nspname || '.' || t.typname END,
    'kind', t.typtype,
    'category', t.typcategory,
    'delimiter', t.typdelim,
    'element', CASE t.typoutput
        WHEN 'pg_catalog.array_out'::pg_catalog.regproc THEN t.typelem::pg_catalog.int8 ELSE 0
    END,
    'base', t.typbasetype::pg_catalog.int8,
    'base_modifier', t.typtypmod,
    'fields', COALESCE((
        SELECT pg_catalog.json_agg(
            pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum
        )
        FROM pg_catalog.pg_attribute AS a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ), '[]'::pg_catalog.json),
    'labels', COALESCE((
        SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum AS e
        WHERE e.enumtypid = t.oid
    ), '[]'::pg_catalog.json),
    'range_subtype', COALESCE((
        SELECT r.rngsubtype::pg_catalog.int8
        FROM pg_catalog.pg_range AS r
        WHERE t.oid IN (r.rngtypid, (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::pg_catalog.oid)
    ), 0)
)::pg_catalog.text
FROM reachable
JOIN pg_catalog.pg_type AS t ON t.oid = reachable.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
ORDER BY t.oid
"""
# rngmultitypid came with version 14; asking for it by way of JSON lets one query serve version 13 as well.


def parse_catalog_rows(rows: Iterable[Sequence[str | bytes]]) -> dict[int, TypeInfo]:
    """The answer to `CATALOG_QUERY`: one row a type, its only column JSON text. Built-in types are left out."""
    found = (TypeInfo.from_json(json.loads(row[0])) for row in rows)
    return {info.oid: info for info in found if info.oid not in BUILT_IN}
