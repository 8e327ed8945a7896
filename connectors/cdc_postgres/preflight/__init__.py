"""What `cdc check` finds out about the server: everything that would stop or harm a run, each with what mends it.

Changes nothing. A question that fails is a finding of its own and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator

from cdc.errors import CdcError
from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding
from cdc.ports import ConnectorContext
from cdc_postgres.connection import Connection
from cdc_postgres.identity import connection_options
from cdc_postgres.preflight.checkpoint import examine_checkpoint
from cdc_postgres.preflight.findings import Section, error
from cdc_postgres.preflight.publication import examine_publication
from cdc_postgres.preflight.role import examine_replication, examine_role
from cdc_postgres.preflight.server import examine_limits, examine_server, examine_transactions, examine_wal_level
from cdc_postgres.preflight.slot import examine_retention, examine_slot
from cdc_postgres.preflight.tables import examine_selection, examine_tables
from cdc_postgres.survey import Survey


def preflight(context: ConnectorContext, checkpoint: Checkpoint | None) -> list[Finding]:
    """One finding a line, in the order in which things are to be mended."""
    try:
        connection = Connection(connection_options(context), replication=False)
    except CdcError as failure:
        return [error("server", str(failure), failure.action)]
    try:
        user = connection.query("SELECT session_user")[0][0] or ""
        survey = Survey(context, connection, user)
        sections: list[tuple[str, Section]] = [
            ("server", examine_server),
            ("wal_level", examine_wal_level),
            ("limits", examine_limits),
            ("role", examine_role),
            ("replication", examine_replication),
            ("publication", examine_publication),
            ("tables", examine_selection),
            ("tables", examine_tables),
            ("slot", lambda survey: examine_slot(survey, checkpoint)),
            ("retention", examine_retention),
            ("checkpoint", lambda survey: examine_checkpoint(survey, checkpoint)),
            ("transactions", examine_transactions),
        ]
        return [finding for name, section in sections for finding in _guarded(name, section, survey)]
    finally:
        connection.close()


def _guarded(name: str, section: Section, survey: Survey) -> Iterator[Finding]:
    try:
        yield from section(survey)
    except CdcError as failure:
        yield error(name, str(failure), failure.action or "Mend what is said above, then check again.")
