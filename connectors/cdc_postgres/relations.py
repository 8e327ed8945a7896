"""From Relation messages to table versions: which shape a row was written in, numbered so that a replay numbers it alike.

The log is the truth for names, types and the identity's columns. What it cannot carry (the key under REPLICA IDENTITY FULL, the make of
user-defined types) is asked of the catalog once per version through `CatalogFacts`, checked against the log, and kept in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol

from cdc.errors import DataError
from cdc.model.selection import TableSelection
from cdc.model.types import LogicalType, TableVersion
from cdc_postgres.pgoutput import RelationMessage, RelationPlan, TypeMessage
from cdc_postgres.sql import quote_identifier
from cdc_postgres.types import Reader, TypeCatalog, TypeInfo, column_for, reader_for

Memory = Mapping[str, Any]
RAW_BYTES = (LogicalType.BYTES, LogicalType.SPATIAL)  # not text, whatever the database's encoding


class CatalogFacts(Protocol):
    """The live catalog, asked only when the log is not enough."""

    def primary_key(self, relation_oid: int) -> tuple[str, ...]:
        """Column names in index order; empty where there is none."""
        ...

    def types(self, oids: list[int]) -> dict[int, TypeInfo]:
        """User-defined types and everything they are made of; unknown ones are left out."""
        ...


class Relations:
    """Table versions by name, in the order in which the log showed them."""

    def __init__(
        self,
        memory: Memory,
        selection: TableSelection,
        catalog: CatalogFacts,
        text: Reader | None,
    ) -> None:
        self._selection = selection
        self._catalog = catalog
        self._text = text
        self._type_names: dict[int, str] = {}
        self._types = {int(oid): TypeInfo.from_json(found) for oid, found in memory.get("types", {}).items()}
        self._documents: dict[str, dict[str, Any]] = dict(memory.get("tables", {}))
        self._versions: dict[str, TableVersion] = {}
        self._memory: dict[str, Any] = {"tables": self._documents, "types": memory.get("types", {})}

    def memory(self) -> dict[str, Any]:
        """What must be known to number and read the same rows again. Replaced, never mutated."""
        return self._memory

    def name_type(self, message: TypeMessage) -> None:
        self._type_names[message.oid] = f"{message.schema}.{message.name}"

    def plan(self, message: RelationMessage) -> tuple[RelationPlan, TableVersion | None]:
        """How to read this relation's rows, and its version when this is the first time that it is seen."""
        count = len(message.columns)
        if not self._selection.matches(message.schema, message.name):
            return RelationPlan(None, (), count), None
        name = memory_name(message.schema, message.name)
        print_ = fingerprint(message)
        known = self._documents.get(name)
        new = known is None or known["fingerprint"] != print_
        document = self._learn(message, print_, known["version"] + 1 if known else 1) if new else known
        assert document is not None
        version = self._versions.get(name)
        if version is None or version.fingerprint != print_:
            version = self._versions[name] = self._make_version(message, document)
        readers = tuple(self._reader(c.type_oid, c.modifier) for c in message.columns)
        return RelationPlan(version, readers, count), version if new else None

    def _learn(self, message: RelationMessage, print_: str, number: int) -> dict[str, Any]:
        # Read again for each version: a type may have changed with the table, though its OID has not.
        users = [c.type_oid for c in message.columns if TypeCatalog({}).lookup(c.type_oid) is None]
        if users:
            self._types = {**self._types, **self._named(users), **self._catalog.types(users)}
        document = {"version": number, "fingerprint": print_, "key": list(self._key(message))}
        self._documents = {**self._documents, memory_name(message.schema, message.name): document}
        types = {str(oid): found.to_json() for oid, found in self._types.items()}
        self._memory = {"tables": self._documents, "types": types}
        return document

    def _key(self, message: RelationMessage) -> tuple[str, ...]:
        """Flagged columns; under FULL all are flagged, so the primary key comes from the catalog, where the log has its columns."""
        if message.identity == "f":
            names = {column.name for column in message.columns}
            key = self._catalog.primary_key(message.oid)
            return key if all(name in names for name in key) else ()
        return tuple(column.name for column in message.columns if column.key)

    def _make_version(self, message: RelationMessage, document: Mapping[str, Any]) -> TableVersion:
        columns = tuple(column_for(c.name, c.type_oid, c.modifier, self._types) for c in message.columns)
        index = {column.name: i for i, column in enumerate(columns)}
        try:
            key = tuple(index[name] for name in document["key"])
        except KeyError as missing:
            raise DataError(
                f"table {message.schema}.{message.name}: its key names a column that the log does not have: {missing}"
            ) from None
        return TableVersion(
            message.schema, message.name, columns, key, message.identity, document["version"], document["fingerprint"]
        )

    def _named(self, oids: list[int]) -> dict[int, TypeInfo]:
        """What the log itself says of a type, for one that the catalog no longer has: its name."""
        return {oid: TypeInfo(oid, self._type_names[oid], "b") for oid in oids if oid in self._type_names}

    def _reader(self, oid: int, modifier: int) -> Reader | None:
        reader = reader_for(oid, modifier, self._types)
        if self._text is None or column_for("", oid, modifier, self._types).type in RAW_BYTES:
            return reader
        return self._text if reader is None else _then(self._text, reader)


def _then(first: Reader, second: Reader) -> Reader:
    return lambda cell: second(first(cell))


def memory_name(schema: str, table: str) -> str:
    """A table's name in the memory. Quoted where it holds a dot: "a"."b.c" and "a.b"."c" are two tables."""
    return f"{quote_identifier(schema)}.{quote_identifier(table)}" if "." in schema + table else f"{schema}.{table}"


def fingerprint(message: RelationMessage) -> str:
    """What makes a version, from the log alone: names, types, modifiers, identity and its columns (hex, 128 bits)."""
    digest = sha256(f"{message.schema}\0{message.name}\0{message.identity}\0".encode())
    for c in message.columns:
        digest.update(f"{c.name}\0{c.type_oid}\0{c.modifier}\0{int(c.key)}\0".encode())
    return digest.hexdigest()[:32]
