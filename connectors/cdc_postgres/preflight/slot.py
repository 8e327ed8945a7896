"""The slot: there or to be made, ours, readable; and how much log it holds back against what the server lets it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cdc.model.checkpoint import Checkpoint
from cdc.model.finding import Finding
from cdc_postgres.commands import SlotState
from cdc_postgres.identity import application_name
from cdc_postgres.preflight.findings import error, ok, warning
from cdc_postgres.survey import Survey

_MIB: Final = 2**20
_DAY: Final = 86_400


def examine_slot(survey: Survey, checkpoint: Checkpoint | None) -> Iterator[Finding]:
    slot, name = survey.slot, survey.slot_name
    if slot is None:
        if checkpoint is None or not checkpoint.mark.position:
            yield _to_be_made(survey)
        return  # else the checkpoint's own section tells of the loss
    drop = f"SELECT pg_drop_replication_slot('{name}');"
    if slot.plugin != "pgoutput" or slot.database != survey.database:
        belongs = f"plugin {slot.plugin}, database {slot.database}" if slot.plugin else "physical replication"
        fix = f"CDC_POSTGRES_SLOT={name[:61]}_2 -- or, if nobody needs that one: {drop}"
        yield error("slot", f"{name} is for {belongs}: not ours", fix)
        return
    if slot.lost:
        why = f" ({slot.reason})" if slot.reason else ""
        fix = drop if checkpoint is None else f"Set CDC_ON_POSITION_LOST=accept-gap, or without a checkpoint: {drop}"
        yield error("slot", f"{name} was invalidated{why}: the server removed log that it needed", fix)
        return
    if checkpoint is None:
        text = f"{name} exists, and no checkpoint knows it: what it has delivered, and to whom, cannot be told"
        yield error("slot", text, f"cdc checkpoint adopt -- goes on from it; or, if nobody needs it: {drop}")
    else:
        yield ok("slot", f"{name} exists")
    if slot.active_pid is not None:
        yield _reader(survey, slot, slot.active_pid)


def _to_be_made(survey: Survey) -> Finding:
    if "slot" in survey.context.settings.create:
        return ok("slot", f"{survey.slot_name} will be made at the first start")
    return error(
        "slot",
        f"{survey.slot_name} does not exist, and CDC_POSTGRES_CREATE does not allow to make it",
        f"SELECT pg_create_logical_replication_slot('{survey.slot_name}', 'pgoutput'); -- and then: cdc checkpoint adopt",
    )


def _reader(survey: Survey, slot: SlotState, pid: int) -> Finding:
    ours = application_name(survey.context)
    rows = survey.query(f"SELECT application_name FROM pg_stat_activity WHERE pid = {pid:d}")  # noqa: S608 - a number
    where = f"PID {pid} at {slot.address or 'a local socket'}"
    if rows and rows[0][0] == ours:
        return ok("slot", f"is read by {where}, a connector of this name")
    return warning(
        "slot",
        f"is read by {where}, which is no connector of this name",
        f"SELECT pg_terminate_backend({pid}); -- or give this connector its own CDC_NAME",
    )


def examine_retention(survey: Survey) -> Iterator[Finding]:
    yield _kept(survey)
    seconds = survey.number("idle_replication_slot_timeout") if survey.version >= 18 else 0
    if 0 < seconds < _DAY:
        yield warning(
            "idle_replication_slot_timeout",
            f"{seconds} s: a connector that is down for longer loses its slot",
            "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf(); -- or longer than any outage",
        )
    elif survey.version >= 18:
        yield ok("idle_replication_slot_timeout", f"{seconds} s" if seconds else "off")


def _kept(survey: Survey) -> Finding:
    """In MiB, the setting's own unit; -1 where there is no bound (P1)."""
    most, retained = survey.number("max_slot_wal_keep_size"), survey.slot.retained if survey.slot else None
    holds = "" if retained is None else f"; the slot holds back {retained / _MIB:.1f} MiB now"
    if most < 0:
        return warning(
            "max_slot_wal_keep_size",
            f"-1: while the connector is down its slot holds back log until the server's disk is full{holds}",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf(); -- what the disk can spare",
        )
    if survey.slot and (survey.slot.wal_status == "unreserved" or (retained or 0) > most * _MIB / 2):
        return warning(
            "max_slot_wal_keep_size",
            f"{most} MiB{holds} ({survey.slot.wal_status}): beyond it the slot is lost",
            f"Run the connector; until it has caught up: ALTER SYSTEM SET max_slot_wal_keep_size = '{_roomy(retained, most)}MB'; "
            "SELECT pg_reload_conf();",
        )
    return ok("max_slot_wal_keep_size", f"{most} MiB{holds}")


def _roomy(retained: int | None, most: int) -> int:
    return max(4 * most, 4 * ((retained or 0) // _MIB + 1), 64)
