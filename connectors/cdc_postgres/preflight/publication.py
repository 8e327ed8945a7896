"""The publication: there, or to be made by whom; and whether its options publish all that is expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cdc.model.finding import Finding
from cdc_postgres.catalog import TableState
from cdc_postgres.identity import LONGEST_NAME
from cdc_postgres.preflight.findings import error, ok, warning
from cdc_postgres.preflight.tables import identify
from cdc_postgres.publication import PublicationState, create_publication
from cdc_postgres.sql import quote_identifier
from cdc_postgres.survey import Restriction, Survey

OPERATIONS: Final = "insert,update,delete,truncate"


def examine_publication(survey: Survey) -> Iterator[Finding]:
    if len(survey.publication_name.encode()) > LONGEST_NAME:
        yield error(
            "publication",
            f"the name {survey.publication_name} has more than {LONGEST_NAME} bytes: the server cuts it off",
            "Give CDC_POSTGRES_PUBLICATION a shorter name.",
        )
    elif survey.publication is None:
        yield _missing(survey)
    else:
        yield from _options(survey, survey.publication)


def _missing(survey: Survey) -> Finding:
    publishable = [table for table in survey.tables if table.publishable and table not in survey.harmful]
    assert survey.role is not None
    allowed = "publication" in survey.context.settings.create
    foreign = [table.qualified_name for table in publishable if not table.owned]
    able = survey.role.superuser or (survey.role.create and not foreign)
    if allowed and able:
        return ok("publication", f"{survey.publication_name} will be made at the first start")
    why = (
        "CDC_POSTGRES_CREATE does not allow to make it"
        if not allowed
        else f"{survey.role.name} may not make it: it has no CREATE on the database"
        if not survey.role.create
        else f"{survey.role.name} may not make it: it does not own {', '.join(foreign[:3])}{' …' * (len(foreign) > 3)}"
    )
    statement = create_publication(survey.publication_name, publishable, survey.version * 10000)
    return error("publication", f"{survey.publication_name} does not exist, and {why}", f"{statement};")


def _options(survey: Survey, state: PublicationState) -> Iterator[Finding]:
    what = "all tables" if state.all_tables else f"{len(state.tables)} tables"
    yield ok("publication", f"{survey.publication_name} publishes {what}: {state.operations}")
    alter = f"ALTER PUBLICATION {quote_identifier(survey.publication_name)}"
    absent = [word for word in OPERATIONS.split(",") if word not in state.operations.split(",")]
    if absent:
        words = ", ".join(absent)
        yield warning("publication", f"does not publish {words}", f"{alter} SET (publish = '{OPERATIONS}');")
    yield from _root(survey, state, alter)
    yield from _generated(survey, alter)
    for table in survey.tables:
        if found := survey.publication_extras.restrictions.get((table.schema, table.name)):
            yield from _restriction(table, found, alter)
            yield from _uncovered(survey, table, found, alter)


def _root(survey: Survey, state: PublicationState, alter: str) -> Iterator[Finding]:
    if state.via_root:
        return
    partitioned = [table.qualified_name for table in survey.tables if table.kind == "p"]
    fix = f"{alter} SET (publish_via_partition_root = true);"
    if partitioned:
        text = f"publishes partitions under their own names, and {', '.join(partitioned)} was selected: nothing of it would come"
        yield error("publication", text, fix)
    else:
        yield warning("publication", "publishes partitions under their own names, not by their root", fix)


def _generated(survey: Survey, alter: str) -> Iterator[Finding]:
    stored = [t.qualified_name for t in survey.tables if survey.extras[t.schema, t.name].stored]
    if stored and survey.publication_extras.generated is False:
        yield warning(
            "publication",
            f"leaves out the stored generated columns of {', '.join(stored)}",
            f"{alter} SET (publish_generated_columns = stored);",
        )


def _restriction(table: TableState, found: Restriction, alter: str) -> Iterator[Finding]:
    """A column list is the way to keep secrets out of the log's reader; a filter changes what an operation is (P22)."""
    if found.columns:
        yield ok("publication", f"of {table.qualified_name} only the columns {', '.join(found.columns)}")
    if found.condition:
        yield warning(
            "publication",
            f"of {table.qualified_name} only rows where {found.condition}: an update across that border becomes an insert or a delete",
            f"{alter} DROP TABLE {table.quoted}; {alter} ADD TABLE {table.quoted};",
        )


def _uncovered(survey: Survey, table: TableState, found: Restriction, alter: str) -> Iterator[Finding]:
    """The server refuses UPDATE and DELETE where a column list leaves out a part of the identity."""
    if not found.columns:
        return
    identity = survey.extras[table.schema, table.name].identity
    absent = [column for column in identity if column not in found.columns]
    if table.identity == "f":
        fix = identify(survey, table)
    else:
        columns = ", ".join(map(quote_identifier, [*found.columns, *absent]))
        where = f" WHERE ({found.condition})" if found.condition else ""
        fix = f"{alter} DROP TABLE {table.quoted}; {alter} ADD TABLE {table.quoted} ({columns}){where};"
    if absent or table.identity == "f":
        left = ", ".join(absent) or "columns, and all of them are"
        text = (
            f"the column list of {table.qualified_name} leaves out {left} of its identity: UPDATE and DELETE on it fail"
        )
        yield error("publication", text, fix)
