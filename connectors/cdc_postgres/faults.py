"""What is known about PostgreSQL's faults: one table by SQLSTATE, one by text for what has no SQLSTATE.

Pure: the table is the documentation (docs/failure-modes.md shows it). SQLSTATE before text, since texts differ between versions and languages.
"""

from __future__ import annotations

from typing import Final

from cdc.errors import CdcError, DataError, PositionLost, SettingsError, SourceOutage
from cdc.model.finding import Fault

_WAIT: Final = "Nothing, unless it lasts: the connector reconnects by itself."
_TLS_OFF: Final = "Turn on TLS on the server, or accept plain text with CDC_SOURCE_TLS=off (or ?tls=off on CDC_SOURCE)."
_NOT_TEXT: Final = "Correct the value: the server cannot convert it to UTF-8; or exclude the table in CDC_TABLES."

BY_SQLSTATE: Final[dict[str, Fault]] = {
    "28P01": Fault("wrong-password", False, "Correct CDC_SOURCE_PASSWORD (or its _FILE) for the user in CDC_SOURCE."),
    "28000": Fault(
        "login-refused",
        False,
        "Allow the user in pg_hba.conf, for the database and for replication, and give it LOGIN and REPLICATION.",
    ),
    "3D000": Fault("database-missing", False, "Correct the database's name in CDC_SOURCE."),
    "42501": Fault("privilege-missing", False, "Give the role what `cdc setup` prints."),
    "42704": Fault("object-missing", False, "Run `cdc check`: it names what is missing and the SQL that makes it."),
    "58P01": Fault("file-missing-on-server", True, _WAIT),
    "55006": Fault(
        "slot-active",
        True,
        "Stop the other process that reads the slot, or wait until the server notices that it is gone.",
    ),
    "55000": Fault("slot-unusable", False, "Run `cdc check`: it names the slot's state and what to do."),
    "53300": Fault("too-many-connections", True, "Raise max_wal_senders or max_connections, or end idle sessions."),
    "53400": Fault("too-many-slots", False, "Raise max_replication_slots, or drop an unused slot."),
    "57P01": Fault("server-shutting-down", True, _WAIT),
    "57P02": Fault("server-crashed", True, _WAIT),
    "57P03": Fault("server-starting", True, _WAIT),
    "57P04": Fault("database-dropped", False, "Correct CDC_SOURCE: the database is gone."),
    "57014": Fault("query-cancelled", True, _WAIT),
    "0A000": Fault(
        "not-supported",
        False,
        "Read the message: the server's version or settings do not allow it (wal_level=logical is needed).",
    ),
    "22021": Fault("invalid-encoding", False, _NOT_TEXT),
    "22P05": Fault("invalid-encoding", False, _NOT_TEXT),
}
_BY_CLASS: Final[dict[str, Fault]] = {
    "22": Fault(
        "value-refused",
        False,
        "The server cannot evaluate a value while it decodes, in the publication's row filter for instance: see the server's log.",
    ),
    "08": Fault("connection-lost", True, _WAIT),
    "40": Fault("transaction-rollback", True, _WAIT),
    "53": Fault("server-out-of-resources", True, "Look at the server's disk and memory."),
    "57": Fault("server-interrupted", True, _WAIT),
    "58": Fault("server-system-error", True, "Look at the server's log and disk."),
    "XX": Fault("server-internal-error", True, "Look at the server's log."),
}
# For errors of libpq itself, which carry no SQLSTATE.
_BY_TEXT: Final[tuple[tuple[str, Fault], ...]] = (
    ("does not support SSL", Fault("server-speaks-plain-text", False, _TLS_OFF)),
    (
        "certificate verify failed",
        Fault(
            "certificate-not-trusted",
            False,
            "Name the CA's file in CDC_SOURCE_TLS_CA, or use the name in the certificate.",
        ),
    ),
    ("does not match host name", Fault("certificate-name-mismatch", False, "Connect by the name in the certificate.")),
    ("root certificate file", Fault("ca-file-unreadable", False, "Name a readable CA bundle in CDC_SOURCE_TLS_CA.")),
    ("password authentication failed", BY_SQLSTATE["28P01"]),
    ("no password supplied", Fault("password-missing", False, "Set CDC_SOURCE_PASSWORD or CDC_SOURCE_PASSWORD_FILE.")),
    ("no pg_hba.conf entry", BY_SQLSTATE["28000"]),
    ("must be superuser or replication role", BY_SQLSTATE["28000"]),
    ("permission denied to start WAL sender", BY_SQLSTATE["28000"]),
    ("is not permitted to log in", BY_SQLSTATE["28000"]),
    ("too many clients", BY_SQLSTATE["53300"]),
    ("requested standby connections exceeds", BY_SQLSTATE["53300"]),
    (
        "could not translate host name",
        Fault("host-unknown", True, "Correct the host in CDC_SOURCE, or wait for the name service."),
    ),
)
_UNREACHABLE: Final = Fault("source-unreachable", True, "Start the server, or correct host and port in CDC_SOURCE.")
_ROLE_MISSING: Final = ("role ", " does not exist")
_POSITION: Final = frozenset({"slot-unusable", "object-missing"})
_DATA: Final = {
    "invalid-encoding": "a text cannot be told in UTF-8",
    "value-refused": "a value cannot be evaluated",
}
"""Faults of data, whose primary message may quote a row's value: what is said instead."""


def classify_state(sqlstate: str | None, message: str) -> Fault:
    """The catalogue's entry for an SQLSTATE (None or empty where libpq gave none) and its primary message."""
    if sqlstate:
        known = BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2])
        return known or Fault(f"sqlstate-{sqlstate}", False, "Read the message; see the PostgreSQL manual, appendix A.")
    for text, fault in _BY_TEXT:
        if text in message:
            return fault
    if all(part in message for part in _ROLE_MISSING):
        return BY_SQLSTATE["28000"]
    if "database" in message and "does not exist" in message:
        return BY_SQLSTATE["3D000"]
    return _UNREACHABLE


def translate(sqlstate: str | None, message: str) -> CdcError:
    """The error that the engine understands. The server's primary message is kept where it holds names and no row's values."""
    fault = classify_state(sqlstate, message)
    if fault.name in _DATA:
        return DataError(f"PostgreSQL: {_DATA[fault.name]}", fault=fault.name, action=fault.action)
    text = " ".join(message.split()) or fault.name
    kind: type[CdcError] = SourceOutage if fault.heals else PositionLost if fault.name in _POSITION else SettingsError
    return kind(f"PostgreSQL: {text}", fault=fault.name, action=fault.action)


def classify(error: BaseException) -> Fault | None:
    """For the engine's reports: what is known of an exception of ours or of psycopg's."""
    if isinstance(error, CdcError):
        return Fault(error.fault, isinstance(error, SourceOutage), error.action)
    sqlstate = getattr(error, "sqlstate", None)
    return classify_state(sqlstate, str(error)) if sqlstate else None
