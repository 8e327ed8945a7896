"""The selected tables: whether each is there, in the log, published, and able to name its rows."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from cdc.model.finding import Finding
from cdc.model.selection import TableSelection
from cdc_postgres.catalog import TableState
from cdc_postgres.preflight.findings import error, ok, warning
from cdc_postgres.publication import add_table
from cdc_postgres.sql import quote_identifier
from cdc_postgres.survey import Computed, Leaf, Survey, TableExtras

_KINDS: Final = {
    "v": "a view: the log holds rows of tables only",
    "m": "a materialised view, which is not in the log as rows",
    "S": "a sequence, which logical replication does not carry",
    "i": "an index",
    "c": "a type",
}


def examine_selection(survey: Survey) -> Iterator[Finding]:
    """Each item of CDC_TABLES against what is there."""
    selection = survey.context.selection
    present = {(str(schema), str(name)) for schema, name, *_ in survey.all_tables}
    for schema, name in selection.literals():
        if (schema, name) not in present:
            yield _absent(survey, schema, name)
    for pattern in selection.patterns:
        if not pattern.literal and not pattern.exclude and not any(pattern.matches(*each) for each in present):
            yield warning("tables", f"{pattern.text} matches no table", _settings(without(selection, pattern.text)))


def _absent(survey: Survey, schema: str, name: str) -> Finding:
    item = spell(schema, name)
    rest = without(survey.context.selection, _text_of(survey.context.selection, schema, name))
    found = survey.other_kind(schema, name)
    if found is not None:
        kind, persistence = found
        what = "temporary: it is not in the log" if persistence == "t" else _KINDS.get(kind, "no table of a user's")
        return error("tables", f"{item} is {what}", _settings(rest))
    names = {spell(table.schema, table.name): table for table in (*survey.tables, *survey.others)}
    folded = {each.lower(): each for each in names}
    close = folded.get(item.lower()) or next(iter(get_close_matches(item, names, 1)), "")
    if close:
        return error("tables", f"{item} does not exist; {close} does", _settings(",".join(filter(None, [rest, close]))))
    return error("tables", f"{item} does not exist", f"Create the table; or {_settings(rest)}")


def examine_tables(survey: Survey) -> Iterator[Finding]:
    for table in survey.tables:
        found = list(_examine(survey, table))
        yield from found or [ok(_subject(table), _praise(survey, table))]
    yield from _bystanders(survey)


def _subject(table: TableState) -> str:
    return f"table {table.qualified_name}"


def _praise(survey: Survey, table: TableState) -> str:
    if table.identity == "f":
        return "old rows are logged whole" + (
            "" if table.primary_key else "; no primary key, so its records have no key"
        )
    if not table.keyed:
        return "has no identity, as CDC_POSTGRES_KEYLESS allows"
    return f"identity ({', '.join(survey.extras[table.schema, table.name].identity)})"


def _examine(survey: Survey, table: TableState) -> Iterator[Finding]:
    if not table.publishable:
        yield _not_in_log(survey, table)
        return
    yield from examine_identity(survey, table)
    yield from _published(survey, table)
    yield from _family(survey, table)
    extras = survey.extras[table.schema, table.name]
    yield from _generated(survey, table, extras)
    if extras.toastable and table.identity != "f" and table.keyed:
        yield _toast(survey, table, extras)


def _toast(survey: Survey, table: TableState, extras: TableExtras) -> Finding:
    listed = survey.publication is not None and (table.schema, table.name) in survey.publication_extras.restrictions
    whole = [table.quoted, *(leaf.quoted for leaf in survey.relatives(table).leaves)]
    fix = (
        " ".join(f"ALTER TABLE {each} REPLICA IDENTITY FULL;" for each in whole)
        + " -- the log then holds old rows whole"
    )
    if listed or _unpublished(survey, extras):
        fix = "Let consumers keep the last value: FULL is not allowed with a column list or unpublished generated columns."
    text = f"large values that an UPDATE leaves alone are absent from its event: {', '.join(extras.toastable)}"
    return warning(_subject(table), text, fix)


def _not_in_log(survey: Survey, table: TableState) -> Finding:
    exclude = _settings(excluding(survey.context.selection, table))
    if table.kind == "f":
        return error(_subject(table), "is a foreign table: its rows are in another server's log", exclude)
    fix = f"ALTER TABLE {table.quoted} SET LOGGED; -- or {exclude}"
    return error(_subject(table), "is unlogged: its rows are not in the log", fix)


def _published(survey: Survey, table: TableState) -> Iterator[Finding]:
    if survey.publication is None or survey.published(table):
        return
    statement = f"{add_table(survey.publication_name, table)};"
    joins = "publication" in survey.context.settings.create and table.owned and survey.publication_extras.owned
    if not joins or table in survey.harmful:
        yield error(_subject(table), f"is not in publication {survey.publication_name}", statement)


def examine_identity(survey: Survey, table: TableState) -> Iterator[Finding]:
    """What keeps an UPDATE or DELETE of the table from naming its row in the log (P16)."""
    if survey.opted_in(table):
        return
    hidden = _unpublished(survey, survey.extras[table.schema, table.name])
    if table.identity == "f" and hidden:
        text = f"REPLICA IDENTITY FULL with generated columns that are not published ({', '.join(hidden)}): UPDATE and DELETE fail"
        yield error(_subject(table), text, identify(survey, table))
    if not table.keyed:
        why = "has REPLICA IDENTITY NOTHING" if table.identity == "n" else "has no primary key and no other identity"
        text = f"{why}: once it is published, the application's own UPDATE and DELETE fail"
        yield error(_subject(table), text, f"{identify(survey, table)} -- or {_opt_in(survey, table)}")
    for leaf in survey.relatives(table).leaves:
        yield from _leaf_identity(table, leaf)


def _leaf_identity(table: TableState, leaf: Leaf) -> Iterator[Finding]:
    """A partition's identity is its own: the root's does not reach it."""
    name = f"partition {leaf.schema}.{leaf.name}"
    if not leaf.keyed:
        text = f"{name} has no identity of its own: UPDATE and DELETE in it fail"
    elif table.identity == "f" and leaf.identity != "f":
        text = f"{name} logs less of an old row than its root, which is FULL: what is left out would be read as NULL"
    else:
        return
    yield error(_subject(table), text, f"ALTER TABLE {leaf.quoted} REPLICA IDENTITY FULL;")


def _opt_in(survey: Survey, table: TableState) -> str:
    before = survey.context.settings.keyless
    return f"CDC_POSTGRES_KEYLESS={before + ',' if before else ''}{spell(table.schema, table.name)}"


def identify(survey: Survey, table: TableState) -> str:
    """The cheapest identity that the table has to offer; where that is a whole row, virtual columns are in its way."""
    extras = survey.extras[table.schema, table.name]
    candidate = extras.candidate
    if not table.primary_key and not candidate and extras.virtual:
        return f"ALTER TABLE {table.quoted} {', '.join(map(_store, extras.virtual))}, REPLICA IDENTITY FULL;"
    best = f"USING INDEX {quote_identifier(candidate)}" if candidate else "FULL"
    return f"ALTER TABLE {table.quoted} REPLICA IDENTITY {'DEFAULT' if table.primary_key else best};"


def _family(survey: Survey, table: TableState) -> Iterator[Finding]:
    """Partitions go by their root, heirs by their own names (P26)."""
    related, state = survey.relatives(table), survey.publication
    above = [each for each in related.ancestors if state and state.via_root and each in state.tables]
    if above:
        item = spell(*above[0])
        text = f"is published as its root {item}, which CDC_TABLES does not select"
        fix = _settings(f"{_list(survey.context.selection)},{item}")
        yield error(_subject(table), text, fix)
    unseen = [each for each in related.heirs if not survey.context.selection.matches(*each)]
    if unseen:
        text = f"rows of tables that inherit from it go by their own names: {', '.join(spell(*e) for e in unseen)}"
        fix = _settings(",".join([_list(survey.context.selection), *(spell(*each) for each in unseen)]))
        yield warning(_subject(table), text, fix)


def _generated(survey: Survey, table: TableState, extras: TableExtras) -> Iterator[Finding]:
    if extras.stored and survey.version < 18:
        drops = ", ".join(f"ALTER COLUMN {quote_identifier(name)} DROP EXPRESSION" for name in extras.stored)
        yield warning(
            _subject(table),
            f"generated columns are not in the log before PostgreSQL 18: {', '.join(extras.stored)}",
            f"ALTER TABLE {table.quoted} {drops}; -- makes them ordinary, for a trigger to fill; or upgrade",
        )
    if extras.virtual:
        names = ", ".join(column.name for column in extras.virtual)
        yield warning(
            _subject(table),
            f"virtual generated columns are never in the log: {names}",
            f"ALTER TABLE {table.quoted} {', '.join(map(_store, extras.virtual))};",
        )


def _unpublished(survey: Survey, extras: TableExtras) -> list[str]:
    """From 18 on an identity must not contain such columns."""
    if survey.version < 18:
        return []
    unseen = extras.stored if survey.publication and survey.publication_extras.generated is False else ()
    return [*unseen, *(column.name for column in extras.virtual)]


def _store(column: Computed) -> str:
    name = quote_identifier(column.name)
    return f"DROP COLUMN {name}, ADD COLUMN {name} {column.type} GENERATED ALWAYS AS ({column.expression}) STORED"


def _bystanders(survey: Survey) -> Iterator[Finding]:
    """Tables that nobody selected, published all the same: an UPDATE without identity fails there too (P16)."""
    if survey.publication is None:
        return
    harmed = [table for table in survey.others if table.publishable and not table.keyed and survey.published(table)]
    if harmed:
        names = ", ".join(table.qualified_name for table in harmed[:5]) + " …" * (len(harmed) > 5)
        text = f"publication {survey.publication_name} makes UPDATE and DELETE fail on tables that are not selected: {names}"
        yield warning("tables", text, " ".join(identify(survey, table) for table in harmed))


# -- CDC_TABLES, written anew ----------------------------------------------------------------------------------------------


def spell(schema: str, name: str) -> str:
    """As an item of CDC_TABLES, in quotes where it needs them."""
    return f"{_part(schema)}.{_part(name)}"


def _part(name: str) -> str:
    plain = name and all(c.isalnum() or c in "_$-" for c in name)
    return name if plain else quote_identifier(name)


def _settings(items: str) -> str:
    return f"CDC_TABLES={items}" if items else "Name other tables in CDC_TABLES."


def _list(selection: TableSelection) -> str:
    return ",".join(pattern.text for pattern in selection.patterns)


def without(selection: TableSelection, text: str) -> str:
    """The list less one item; empty where nothing would be included then."""
    rest = [pattern for pattern in selection.patterns if pattern.text != text]
    return ",".join(p.text for p in rest) if any(not p.exclude for p in rest) else ""


def _text_of(selection: TableSelection, schema: str, name: str) -> str:
    return next(p.text for p in selection.patterns if p.literal == (schema, name) and not p.exclude)


def excluding(selection: TableSelection, table: TableState) -> str:
    """The list so that it does not select the table; empty where nothing would be included then."""
    rest = [p for p in selection.patterns if p.exclude or p.literal != (table.schema, table.name)]
    if not any(not p.exclude for p in rest):
        return ""
    items = [p.text for p in rest]
    still = any(p.matches(table.schema, table.name) for p in rest if not p.exclude)
    return ",".join([*items, f"!{spell(table.schema, table.name)}"] if still else items)
