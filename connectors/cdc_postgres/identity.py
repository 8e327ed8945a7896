"""Who we are on the server: the names of what is ours, how we connect, and how a checkpoint says where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc.ports import ConnectorContext
from cdc_postgres.commands import SystemIdentity
from cdc_postgres.connection import ConnectionOptions

LONGEST_NAME = 63  # NAMEDATALEN - 1: the server cuts longer names off, in bytes


def slot_name(context: ConnectorContext) -> str:
    return str(context.settings.slot) or _default_name(context)


def publication_name(context: ConnectorContext) -> str:
    return str(context.settings.publication) or _default_name(context)


def application_name(context: ConnectorContext) -> str:
    """What the server shows in pg_stat_activity."""
    return f"cdc {context.name}"[:LONGEST_NAME]


def connection_options(context: ConnectorContext) -> ConnectionOptions:
    return ConnectionOptions(context.url, application_name(context), context.password, context.tls, context.tls_ca)


def intended_source(identity: SystemIdentity, slot: str, publication: str) -> dict[str, Any]:
    """A checkpoint's `source` before anything was made on the server."""
    return {
        "system_id": identity.system_id,
        "timeline": identity.timeline,
        "database": identity.database,
        "slot": slot,
        "publication": publication,
    }


def established_source(
    known: Mapping[str, Any], identity: SystemIdentity, publication: str, publication_oid: int
) -> dict[str, Any]:
    """A checkpoint's `source` once there is a slot to stream from. The oid tells a publication that was made anew."""
    return {
        **known,
        "timeline": identity.timeline,
        "publication": publication,
        "publication_oid": publication_oid,
    }


def _default_name(context: ConnectorContext) -> str:
    spelled = "".join(c if c.isascii() and c.isalnum() else "_" for c in context.name.lower())
    return f"cdc_{spelled}"[:LONGEST_NAME]
