"""The frozen value that the entry point `cdc.sources: postgres` names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding, Severity
from cdc.ports import Connector, ConnectorContext
from cdc_postgres.catalog import TABLES_QUERY, Catalog, parse_tables
from cdc_postgres.faults import classify
from cdc_postgres.identity import connection_options
from cdc_postgres.settings import PostgresSettings
from cdc_postgres.source import PostgresSource


def _open(context: ConnectorContext) -> PostgresSource:
    return PostgresSource(context)


def _preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    from cdc_postgres.preflight import preflight

    return preflight(context, checkpoint)


def _tables(context: ConnectorContext) -> list[tuple[str, str]]:
    """Those that can have events: a table that is not in the log has no topic."""
    catalog = Catalog(connection_options(context))
    try:
        found = parse_tables(catalog.query(TABLES_QUERY), context.selection)
        return [(table.schema, table.name) for table in found if table.publishable]
    finally:
        catalog.close()


def _setup(context: ConnectorContext, admin: ConnectorContext) -> list[str]:
    from cdc_postgres.setup import setup

    return setup(context, admin)


def _teardown(context: ConnectorContext, admin: ConnectorContext) -> list[str]:
    from cdc_postgres.setup import teardown

    return teardown(context, admin)


def _execute(context: ConnectorContext, admin: ConnectorContext, statements: Sequence[str]) -> Iterator[Finding]:
    from cdc_postgres.setup import execute

    return execute(context, admin, statements)


def _adopt(context: ConnectorContext) -> Checkpoint:
    from cdc_postgres.adopt import adopt

    return adopt(context)


def _driver() -> list[Finding]:
    """The pure Python one works too, but is far too slow for a log, and finds the system's libpq of whatever version."""
    from psycopg import __version__, pq

    major, minor = divmod(pq.version(), 10_000)
    loaded = f"{__version__} ({pq.__impl__}), libpq {major}.{minor}"
    if pq.__impl__ == "python":
        return [Finding(Severity.WARNING, "psycopg", loaded, "pip install 'psycopg[binary]'")]
    return [Finding(Severity.OK, "psycopg", loaded)]


CONNECTOR = Connector(
    name="postgres",
    schemes=("postgresql", "postgres"),
    settings=PostgresSettings,
    open=_open,
    preflight=_preflight,
    tables=_tables,
    setup=_setup,
    teardown=_teardown,
    execute=_execute,
    adopt=_adopt,
    classify=classify,
    driver=_driver,
)
