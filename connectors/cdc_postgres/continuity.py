"""Does the log continue from the checkpoint? Pure: what the server says against what the checkpoint holds.

The server will not tell: it starts in silence from the later of the two positions (P6), and serves another cluster's log under the same
address as readily (P5). So everything is compared before START_REPLICATION.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdc_postgres.commands import SlotState, SystemIdentity
from cdc_postgres.lsn import format_lsn

_CHOICES = (
    "Choices: bring back the server or slot that has it; or set CDC_ON_POSITION_LOST=accept-gap to go on without the missing range "
    "(it is written into the checkpoint and published as a gap record)"
)


@dataclass(frozen=True, slots=True)
class Lost:
    """Why the log does not continue, from where to where it is missing, and what the operator may do."""

    fault: str
    why: str
    missing_to: str
    action: str = _CHOICES


def judge(
    known: Mapping[str, Any],
    position: int,
    now: SystemIdentity,
    slot: SlotState | None,
    history: Mapping[int, int],
    publication_oid: int | None,
) -> Lost | None:
    """None when streaming may begin at `position`.

    `known` is the checkpoint's identity of the source; `history` says where each earlier timeline of the server ended.
    """
    return (
        _same_server(known, position, now, history)
        or _same_publication(known, publication_oid)
        or _usable_slot(known, slot)
        or _no_skip(position, slot)
        or _log_reaches(position, now)
    )


def _same_server(
    known: Mapping[str, Any], position: int, now: SystemIdentity, history: Mapping[int, int]
) -> Lost | None:
    if now.system_id != known["system_id"]:
        return Lost(
            "another-server",
            f"the server's system identifier is {now.system_id}, the checkpoint's {known['system_id']}: this is another cluster",
            "unknown",
        )
    if now.database != known["database"]:
        return Lost(
            "another-database", f"the database is {now.database!r}, the checkpoint's {known['database']!r}", "unknown"
        )
    if now.timeline < known["timeline"]:
        return Lost(
            "timeline-went-back",
            f"the server is on timeline {now.timeline}, the checkpoint on {known['timeline']}",
            "unknown",
        )
    fork = history.get(known["timeline"])
    if now.timeline > known["timeline"] and (fork is None or fork < position):
        at = "at an unknown place" if fork is None else f"at {format_lsn(fork)}"
        return Lost(
            "timeline-forked",
            f"timeline {known['timeline']} ended {at}, before the checkpoint's position {format_lsn(position)}: what was published after it "
            "does not exist on this server",
            format_lsn(now.flushed),
        )
    return None


def _same_publication(known: Mapping[str, Any], oid: int | None) -> Lost | None:
    if oid is not None and known.get("publication_oid") not in (None, oid):
        return Lost(
            "publication-recreated",
            f"publication {known['publication']} was dropped and made again: what was written in between was not published",
            "unknown",
        )
    return None


def _usable_slot(known: Mapping[str, Any], slot: SlotState | None) -> Lost | None:
    if slot is None:
        return Lost(
            "slot-missing",
            f"replication slot {known['slot']} does not exist any more, though the checkpoint needs it",
            "unknown",
        )
    if slot.plugin != "pgoutput" or slot.database != known["database"]:
        return Lost(
            "slot-foreign",
            f"slot {known['slot']} belongs to plugin {slot.plugin}, database {slot.database}: not ours",
            "unknown",
            "Choices: give this connector its own CDC_POSTGRES_SLOT; or, if nobody needs that slot, drop it and set CDC_ON_POSITION_LOST=accept-gap",
        )
    if slot.lost:
        why = f" ({slot.reason})" if slot.reason else ""
        return Lost(
            "slot-invalidated",
            f"the server has invalidated slot {known['slot']}{why}: it removed log that was still needed",
            "unknown",
        )
    return None


def _no_skip(position: int, slot: SlotState | None) -> Lost | None:
    assert slot is not None and slot.confirmed is not None
    if slot.confirmed > position:
        return Lost(
            "slot-ahead",
            f"the slot stands at {format_lsn(slot.confirmed)}, after the checkpoint's {format_lsn(position)}: somebody advanced or re-created it, "
            "or the checkpoint is an old copy",
            format_lsn(slot.confirmed),
        )
    return None


def _log_reaches(position: int, now: SystemIdentity) -> Lost | None:
    if now.flushed < position:
        return Lost(
            "server-went-back",
            f"the server's log ends at {format_lsn(now.flushed)}, before the checkpoint's {format_lsn(position)}: it was restored from a backup",
            format_lsn(now.flushed),
        )
    return None
