"""The frozen value that the entry point `cdc.sources: postgres` names."""

from __future__ import annotations

from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding
from cdc.ports import Connector, ConnectorContext
from cdc_postgres.faults import classify
from cdc_postgres.settings import PostgresSettings
from cdc_postgres.source import PostgresSource


def _open(context: ConnectorContext) -> PostgresSource:
    return PostgresSource(context)


def _preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    from cdc_postgres.preflight import preflight

    return preflight(context, checkpoint)


CONNECTOR = Connector(
    name="postgres",
    schemes=("postgresql", "postgres"),
    settings=PostgresSettings,
    open=_open,
    preflight=_preflight,
    classify=classify,
)
