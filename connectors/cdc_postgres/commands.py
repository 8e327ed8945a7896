"""Replication commands and the catalog's view of slots: text to send, and pure parsers of what comes back.

Manual: "Streaming Replication Protocol", and the views pg_replication_slots and pg_publication.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cdc_postgres.lsn import format_lsn, parse_lsn
from cdc_postgres.pgoutput import EPOCH_SHIFT
from cdc_postgres.sql import Rows, quote_identifier

_STATUS = struct.Struct(">cQQQqB")


@dataclass(frozen=True, slots=True)
class SystemIdentity:
    """IDENTIFY_SYSTEM. `flushed` is how far the server's log is on disk."""

    system_id: str
    timeline: int
    flushed: int
    database: str


def parse_identify_system(rows: Rows) -> SystemIdentity:
    system_id, timeline, position, database = rows[0]
    assert system_id and timeline and position
    return SystemIdentity(system_id, int(timeline), parse_lsn(position), database or "")


SLOT_QUERY = (
    "SELECT s.plugin, s.slot_type, s.database, s.active_pid, s.confirmed_flush_lsn, s.restart_lsn, s.wal_status, {reason}, "
    "a.client_addr, pg_current_wal_lsn() - s.restart_lsn "
    "FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = {name}"
)


def slot_query(name_literal: str, server_version: int) -> str:
    """The slot's row; `invalidation_reason` is there from 17 on."""
    return SLOT_QUERY.format(name=name_literal, reason="s.invalidation_reason" if server_version >= 170000 else "NULL")


@dataclass(frozen=True, slots=True)
class SlotState:
    """One row of pg_replication_slots. `confirmed` is None for a slot that has no position any more."""

    plugin: str
    kind: str
    database: str
    active_pid: int | None
    confirmed: int | None
    restart: int | None
    wal_status: str
    reason: str
    address: str
    retained: int | None

    @property
    def lost(self) -> bool:
        return self.wal_status == "lost" or bool(self.reason) or self.confirmed is None


def parse_slot(rows: Rows) -> SlotState | None:
    if not rows:
        return None
    plugin, kind, database, pid, confirmed, restart, status, reason, address, retained = rows[0]
    return SlotState(
        plugin or "",
        kind or "",
        database or "",
        int(pid) if pid else None,
        parse_lsn(confirmed) if confirmed else None,
        parse_lsn(restart) if restart else None,
        status or "",
        reason or "",
        address or "",
        int(retained) if retained else None,
    )


def create_slot(slot: str) -> str:
    """In the form that every version from 13 on understands."""
    return f"CREATE_REPLICATION_SLOT {quote_identifier(slot)} LOGICAL pgoutput NOEXPORT_SNAPSHOT"


def start_replication(slot: str, position: int, publication: str, messages: bool) -> str:
    names = quote_identifier(publication).replace("'", "''")
    options = f"proto_version '1', publication_names '{names}'" + (", messages 'true'" if messages else "")
    return f"START_REPLICATION SLOT {quote_identifier(slot)} LOGICAL {format_lsn(position)} ({options})"


def status_update(received: int, confirmed: int, now_us: int, reply: bool) -> bytes:
    """Standby status update ('r'): written, flushed, applied, the client's clock, whether to answer at once."""
    return _STATUS.pack(b"r", max(received, confirmed), confirmed, confirmed, now_us - EPOCH_SHIFT, int(reply))


def parse_timeline_history(content: str) -> dict[int, int]:
    """Timeline → the position at which it ended (the file `XXXXXXXX.history`; manual: "Timelines")."""
    ends = {}
    for line in content.splitlines():
        fields = line.split("#")[0].split()
        if len(fields) >= 2:
            ends[int(fields[0])] = parse_lsn(fields[1])
    return ends
