"""The checkpoint against the server: would the log continue from it? The same judgement as at the start."""

from __future__ import annotations

from collections.abc import Iterator

from cdc.errors import CdcError
from cdc.model.checkpoint import Checkpoint, Phase
from cdc.model.finding import Finding
from cdc_postgres.commands import SystemIdentity, parse_timeline_history
from cdc_postgres.connection import Connection
from cdc_postgres.continuity import Lost, judge
from cdc_postgres.lsn import parse_lsn
from cdc_postgres.preflight.findings import error, ok
from cdc_postgres.survey import Survey

_OTHER = "Restore CDC_SOURCE and CDC_POSTGRES_SLOT, or begin anew: cdc checkpoint reset"


def examine_checkpoint(survey: Survey, checkpoint: Checkpoint | None) -> Iterator[Finding]:
    if checkpoint is None:
        return
    known = checkpoint.source
    if known.get("slot") != survey.slot_name:
        text = f"belongs to slot {known.get('slot')}, not to {survey.slot_name}"
        yield error("checkpoint", text, _OTHER)
        return
    try:
        with survey.replication() as (connection, identity):
            yield _judge(survey, checkpoint, identity, connection)
    except CdcError as failure:
        yield error("checkpoint", f"cannot be compared with the server: {failure}", failure.action)


def _judge(survey: Survey, checkpoint: Checkpoint, identity: SystemIdentity, connection: Connection) -> Finding:
    if checkpoint.phase is Phase.INTENT:
        if checkpoint.source["system_id"] == identity.system_id:
            return ok("checkpoint", "was begun on this server; the next start finishes what it intended")
        return error("checkpoint", "was begun on another server", _OTHER)
    lost = _lost(survey, checkpoint, identity, connection)
    if lost is None and survey.publication is None:
        return error(
            "checkpoint",
            "the publication that it needs does not exist any more: what is written without it is not published",
            "cdc setup --apply -- and set CDC_ON_POSITION_LOST=accept-gap",
        )
    if lost is not None:
        missing = f"missing: from {checkpoint.mark.position} to {lost.missing_to}"
        return error("checkpoint", f"{lost.why}; {missing}", lost.action)
    behind = identity.flushed - parse_lsn(checkpoint.mark.position)
    return ok("checkpoint", f"the log continues from {checkpoint.mark.position}, {behind} bytes behind its end")


def _lost(survey: Survey, checkpoint: Checkpoint, identity: SystemIdentity, connection: Connection) -> Lost | None:
    history: dict[int, int] = {}
    if identity.timeline > checkpoint.source["timeline"]:
        content = connection.query(f"TIMELINE_HISTORY {identity.timeline}")[0][1]
        history = parse_timeline_history(content or "")
    oid = survey.publication.oid if survey.publication else None
    return judge(checkpoint.source, parse_lsn(checkpoint.mark.position), identity, survey.slot, history, oid)
