"""Which tables to capture: `CDC_TABLES`, parsed once and asked by everybody.

A comma list of `schema.table`; `*` and `?` match within a name; `!` excludes; a name in double quotes is taken literally.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ITEM = re.compile(
    r'\s*+(?P<exclude>!)?\s*+(?P<schema>"(?:[^"]|"")+"|[^".,\s]+)\.(?P<table>"(?:[^"]|"")+"|[^".,\s]+)\s*(?:,|$)'
)


@dataclass(frozen=True, slots=True)
class TablePattern:
    """One item. `literal` is (schema, table) when neither part has a wildcard."""

    text: str
    exclude: bool
    schema: re.Pattern[str]
    table: re.Pattern[str]
    literal: tuple[str, str] | None

    def matches(self, schema: str, table: str) -> bool:
        return bool(self.schema.fullmatch(schema) and self.table.fullmatch(table))


@dataclass(frozen=True, slots=True)
class TableSelection:
    """Selected by at least one including item and by no excluding one."""

    patterns: tuple[TablePattern, ...]

    def matches(self, schema: str, table: str) -> bool:
        included = False
        for pattern in self.patterns:
            if pattern.matches(schema, table):
                if pattern.exclude:
                    return False
                included = True
        return included

    def literals(self) -> list[tuple[str, str]]:
        """Tables named in full; a missing one is worth a finding."""
        return [p.literal for p in self.patterns if p.literal and not p.exclude]


def parse_selection(text: str) -> TableSelection:
    """Raises ValueError that quotes the item which cannot be read."""
    patterns: list[TablePattern] = []
    at = 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if not found:
            raise ValueError(
                f"cannot read {text[at:]!r}: expected schema.table, with names in double quotes where they hold dots or blanks"
            )
        schema, table = found["schema"], found["table"]
        literal = None if _has_wildcard(schema) or _has_wildcard(table) else (_unquote(schema), _unquote(table))
        patterns.append(
            TablePattern(found[0].strip(" ,"), bool(found["exclude"]), _compile(schema), _compile(table), literal)
        )
        at = found.end()
    if not any(not p.exclude for p in patterns):
        raise ValueError("no table is included: name at least one, for instance public.*")
    return TableSelection(tuple(patterns))


def _unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _has_wildcard(name: str) -> bool:
    return not name.startswith('"') and ("*" in name or "?" in name)


def _compile(name: str) -> re.Pattern[str]:
    if not _has_wildcard(name):
        return re.compile(re.escape(_unquote(name)), re.DOTALL)
    first, *rest = ["".join("." if c == "?" else re.escape(c) for c in part) for part in name.split("*")]
    if not rest:
        return re.compile(first, re.DOTALL)
    # What stands between two asterisks is taken where it comes first, and never looked for again: linear, whatever the name.
    between = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    return re.compile(f"{first}{between}.*{rest[-1]}", re.DOTALL)
