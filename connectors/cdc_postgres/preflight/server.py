"""The server itself: version, what its settings allow, and what would make the slot wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from cdc.model.finding import Finding
from cdc_postgres.preflight.findings import error, ok, warning
from cdc_postgres.survey import NEWEST, Survey

_OLDEST: Final = 13
_LASTING: Final = 1.0  # seconds after which a transaction counts as one that lasts
# Visible to any role, which the time of its start is not. A prepared transaction has no process.
_WITH_XID: Final = (
    "SELECT a.backend_xid::text, a.pid::text, a.datname, NULL FROM pg_stat_activity a "
    "WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid() "
    "UNION ALL SELECT p.transaction::text, NULL, p.database, p.gid FROM pg_prepared_xacts p ORDER BY 1"
)


def examine_server(survey: Survey) -> Iterator[Finding]:
    version, text = survey.version, survey.settings["server_version"]
    if version < _OLDEST:
        yield error("server", f"PostgreSQL {text} is too old", "Upgrade to PostgreSQL 13 or later.")
    elif version > NEWEST:
        yield warning(
            "server",
            f"PostgreSQL {text} is newer than this connector has been tried with",
            f"Use PostgreSQL {_OLDEST} to {NEWEST}, or a newer connector.",
        )
    else:
        yield ok("server", f"PostgreSQL {text}")
    if survey.query("SELECT pg_is_in_recovery()::text")[0][0] == "true":
        yield error("server", "is a standby", "Point CDC_SOURCE at the primary: standbys are not supported.")
    yield from _protection(survey.context.tls, survey.tls_in_use)
    yield from _encoding(survey)


def _protection(asked: str | None, in_use: bool) -> Iterator[Finding]:
    """Said nothing, a far host is verified (S1); whoever asked for less hears what that means."""
    if asked in ("off", "require", "verify-ca"):
        state = (
            "plain text: who listens reads every row"
            if not in_use
            else f"encrypted, but tls={asked} lets others answer"
        )
        yield warning("source tls", state, "CDC_SOURCE_TLS=verify-full")
    else:
        yield ok("source tls", "encrypted" if in_use else "none, on this machine")


def _encoding(survey: Survey) -> Iterator[Finding]:
    encoding = survey.settings["server_encoding"]
    if encoding != "SQL_ASCII" or survey.context.invalid_text == "base64":
        yield ok("encoding", f"{encoding}")
        return
    yield warning(
        "encoding",
        "SQL_ASCII: the server takes any bytes for text, and the first value that is not UTF-8 ends the connector",
        "CDC_INVALID_TEXT=base64",
    )


def examine_wal_level(survey: Survey) -> Iterator[Finding]:
    level = survey.settings["wal_level"]
    if level == "logical":
        yield ok("wal_level", "logical")
        return
    yield error(
        "wal_level",
        f"{level}: the log does not hold what logical decoding needs",
        "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server",
    )


def examine_limits(survey: Survey) -> Iterator[Finding]:
    yield _slots(survey)
    yield _senders(survey)
    seconds = survey.number("wal_sender_timeout") / 1000
    if seconds:
        yield ok("wal_sender_timeout", f"{seconds:g} s (the connector asks for 60 s in its own session)")
        return
    yield warning(
        "wal_sender_timeout",
        "0: a connection that breaks while the slot is being made holds the slot for ever",
        "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();",
    )


def _slots(survey: Survey) -> Finding:
    most = survey.number("max_replication_slots")
    rows = survey.query("SELECT slot_name, active::text FROM pg_replication_slots ORDER BY active, slot_name")
    have = any(name == survey.slot_name for name, _ in rows)
    if have or len(rows) < most:
        return ok("slots", f"{len(rows)} of {most} replication slots in use{', ours among them' if have else ''}")
    idle = [f"SELECT pg_drop_replication_slot('{name}');" for name, active in rows if active == "false"]
    instead = f"; or drop one that nobody needs: {' '.join(idle[:3])}" if idle else ""
    return error(
        "slots",
        f"all {most} replication slots are in use, and ours is not among them",
        f"ALTER SYSTEM SET max_replication_slots = {max(most + 1, 10)}; -- then restart the server{instead}",
    )


def _senders(survey: Survey) -> Finding:
    most = survey.number("max_wal_senders")
    used = int(survey.query("SELECT count(*)::text FROM pg_stat_replication")[0][0] or 0)
    streaming = survey.slot is not None and survey.slot.active_pid is not None
    if used < most or streaming:
        return ok("senders", f"{used} of {most} WAL senders in use")
    return error(
        "senders",
        f"all {most} WAL senders are in use",
        f"ALTER SYSTEM SET max_wal_senders = {max(most + 1, 10)}; -- then restart the server",
    )


def examine_transactions(survey: Survey) -> Iterator[Finding]:
    """A slot that is to be made waits for every transaction that runs then, in any database (P33)."""
    if survey.slot is not None or not (before := set(survey.query(_WITH_XID))):
        return
    time.sleep(_LASTING)
    for xid, pid, database, gid in sorted(before & set(survey.query(_WITH_XID)), key=str):
        where = f"in database {database}" if database else ""
        if pid is None:
            mend = f"ROLLBACK PREPARED {survey.literal(gid or '')}; -- or COMMIT PREPARED, in its database"
            yield warning("transactions", f"prepared transaction {gid} {where} will make the slot wait", mend)
        else:
            text = f"transaction {xid} of pid {pid} {where} lasts, and the slot will wait for its end"
            yield warning("transactions", text, f"SELECT pg_terminate_backend({pid});")
