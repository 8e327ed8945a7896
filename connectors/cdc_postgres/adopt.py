"""`cdc checkpoint adopt`: a checkpoint for a slot that is there already and that no checkpoint knows. Changes nothing."""

from __future__ import annotations

from cdc.errors import AnotherInstance, CdcError, PositionLost, SettingsError
from cdc.model.checkpoint import Checkpoint, Mark, Phase
from cdc.ports import ConnectorContext
from cdc_postgres.commands import SlotState, SystemIdentity, parse_identify_system, parse_slot, slot_query
from cdc_postgres.connection import Connection
from cdc_postgres.identity import (
    connection_options,
    established_source,
    intended_source,
    publication_name,
    slot_name,
)
from cdc_postgres.lsn import format_lsn
from cdc_postgres.publication import parse_publication, publication_query

_NEW_SLOT = "Name the right one in CDC_POSTGRES_SLOT; or let `cdc run` make one."


def adopt(context: ConnectorContext) -> Checkpoint:
    """Goes on from what the slot has confirmed: what its reader before us confirmed is not sent again."""
    slot, publication = slot_name(context), publication_name(context)
    connection = Connection(connection_options(context), replication=True)
    try:
        identity = parse_identify_system(connection.query("IDENTIFY_SYSTEM"))
        state = parse_slot(connection.query(slot_query(connection.literal(slot), connection.server_version)))
        published = parse_publication(connection.query(publication_query(connection.literal(publication))))
    finally:
        connection.close()
    position = _usable(slot, state, identity)
    if published is None:
        raise SettingsError(
            f"publication {publication} does not exist, so the slot cannot be read",
            fault="publication-missing",
            action="Name the slot's publication in CDC_POSTGRES_PUBLICATION. One that is made now is not there for "
            "the log that the slot has kept: then drop the slot, and let `cdc run` make both.",
        )
    source = established_source(intended_source(identity, slot, publication), identity, publication, published.oid)
    return Checkpoint(context.name, Phase.STREAMING, source, Mark(format_lsn(position), None, {}), "")


def _usable(name: str, slot: SlotState | None, identity: SystemIdentity) -> int:
    """The slot's position. Raises where it has none that we could go on from."""
    if slot is None:
        raise SettingsError(f"replication slot {name} does not exist", fault="slot-missing", action=_NEW_SLOT)
    if slot.plugin != "pgoutput" or slot.database != identity.database:
        belongs = f"plugin {slot.plugin}, database {slot.database}" if slot.plugin else "physical replication"
        raise SettingsError(f"slot {name} is for {belongs}: not ours", fault="slot-foreign", action=_NEW_SLOT)
    if slot.active_pid is not None:
        raise AnotherInstance(
            f"slot {name} is being read by PID {slot.active_pid}",
            fault="slot-active",
            action="Stop that reader first, or its position moves on while we write ours down.",
        )
    if slot.lost or slot.confirmed is None:
        raise _lost(name, slot)
    return slot.confirmed


def _lost(name: str, slot: SlotState) -> CdcError:
    why = f" ({slot.reason})" if slot.reason else ""
    return PositionLost(
        f"the server has invalidated slot {name}{why}: there is no position to go on from",
        fault="slot-invalidated",
        action=f"Drop it: SELECT pg_drop_replication_slot('{name}'); then `cdc run` makes a new one.",
    )
