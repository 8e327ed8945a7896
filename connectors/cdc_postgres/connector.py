"""The frozen value that the entry point `cdc.sources: postgres` names."""

from __future__ import annotations

import psycopg
from psycopg import pq

from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding, Severity
from cdc.ports import Connector, ConnectorContext
from cdc_postgres.faults import classify
from cdc_postgres.settings import PostgresSettings
from cdc_postgres.source import PostgresSource


def _open(context: ConnectorContext) -> PostgresSource:
    return PostgresSource(context)


def _preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    from cdc_postgres.preflight import preflight

    return preflight(context, checkpoint)


def _driver() -> list[Finding]:
    """For `cdc version`: which of psycopg's two implementations is loaded, and its libpq."""
    number, slow = pq.version(), pq.__impl__ == "python"
    return [
        Finding(
            Severity.WARNING if slow else Severity.OK,
            "psycopg",
            f"{psycopg.__version__}, implementation {pq.__impl__}, libpq {number // 10000}.{number % 10000}",
            "Install psycopg[binary]: the pure-Python implementation is several times slower." if slow else "",
        )
    ]


CONNECTOR = Connector(
    name="postgres",
    schemes=("postgresql", "postgres"),
    settings=PostgresSettings,
    open=_open,
    preflight=_preflight,
    classify=classify,
    driver=_driver,
)
