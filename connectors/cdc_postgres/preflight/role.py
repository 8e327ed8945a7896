"""The role: what it may not do and must, and what it may do and need not (S2, S3)."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import pq
from psycopg.conninfo import make_conninfo

from cdc.errors import CdcError
from cdc.model.finding import Finding
from cdc_postgres.identity import connection_options
from cdc_postgres.preflight.findings import error, ok, warning
from cdc_postgres.sql import quote_identifier
from cdc_postgres.survey import RoleState, Survey


def examine_role(survey: Survey) -> Iterator[Finding]:
    role = survey.role
    assert role is not None, "it is the one that we are connected as"
    if role.superuser:
        yield warning(
            "role", f"{role.name} is a superuser: it may do anything to every database", _demote(role, survey)
        )
    elif role.excess:
        yield warning(
            "role",
            f"{role.name} may do more than is needed: {', '.join(role.excess)}",
            f"ALTER ROLE {role.quoted} {' '.join(f'NO{word}' for word in role.excess)};",
        )
    else:
        yield ok("role", f"{role.name} is no superuser")
    yield from _reading(survey, role)


def _demote(role: RoleState, survey: Survey) -> str:
    own = f"Name a role of its own in CDC_SOURCE (user cdc_{survey.context.name}); `cdc setup --apply --admin URL` makes it"
    return f"{own}." if role.bootstrap else f"ALTER ROLE {role.quoted} NOSUPERUSER; -- or: {own}"


def _reading(survey: Survey, role: RoleState) -> Iterator[Finding]:
    """Decoding asks for no right on a table; whoever may read its changes should still be one who may read it (S4)."""
    captured = [table for table in survey.tables if table.publishable]
    blind = [t for t in captured if not (r := survey.rights[t.schema, t.name]).usage or not r.select]
    if not blind:
        yield ok("privileges", f"SELECT on each of the {len(captured)} selected tables")
    closed = sorted({table.schema for table in blind if not survey.rights[table.schema, table.name].usage})
    for schema in closed:
        yield error(
            "privileges",
            f"no USAGE on schema {schema}",
            f"GRANT USAGE ON SCHEMA {quote_identifier(schema)} TO {role.quoted};",
        )
    for table in blind:
        if not survey.rights[table.schema, table.name].select:
            fix = f"GRANT SELECT ON {table.quoted} TO {role.quoted};"
            yield error("privileges", f"no SELECT on {table.qualified_name}", fix)


def examine_replication(survey: Survey) -> Iterator[Finding]:
    """Tried, not guessed: REPLICATION, pg_hba.conf, free senders and poolers all show in the handshake (P48)."""
    try:
        with survey.replication() as (_, identity):
            yield ok("replication", f"handshake: system {identity.system_id}, timeline {identity.timeline}")
    except CdcError as failure:
        role = survey.role
        assert role is not None
        lacking = not (role.replication or role.superuser)
        fix = f"ALTER ROLE {role.quoted} REPLICATION;" if lacking else failure.action
        yield error("replication", f"no replication connection: {failure}", fix)
        return
    yield _physical(survey)


def _physical(survey: Survey) -> Finding:
    """REPLICATION allows a copy of the whole cluster, too, unless pg_hba.conf forbids it (S3)."""
    if not _may_copy(survey):
        return ok("physical copies", "refused")
    role = survey.role
    assert role is not None
    return warning(
        "physical copies",
        f"{role.name} may also copy the whole cluster, every database and every password's hash",
        f"pg_hba.conf, above its other lines: {physical_refused(role.quoted)}; then SELECT pg_reload_conf();",
    )


def physical_refused(role: str) -> str:
    """In pg_hba.conf the word replication means physical replication only; a logical one asks for its database."""
    return f"host replication {role} all reject (and: local replication {role} reject)"


def _may_copy(survey: Survey) -> bool:
    conninfo = make_conninfo(connection_options(survey.context).conninfo(replication=False), replication="true")
    connection = pq.PGconn.connect(conninfo.encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            return False
        return connection.exec_(b"IDENTIFY_SYSTEM").status == pq.ExecStatus.TUPLES_OK
    finally:
        connection.finish()
