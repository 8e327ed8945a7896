"""The SQL that makes, or removes, what the connector needs on the server; what is so already is left out.

Every name is quoted and no password is written down: `execute` puts its verifier in where the statement has a place for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urlsplit

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from cdc.errors import AnotherInstance, CdcError, SettingsError
from cdc.model.finding import Finding, Severity
from cdc.ports import ConnectorContext
from cdc_postgres.connection import Connection
from cdc_postgres.identity import connection_options, publication_name
from cdc_postgres.preflight.publication import OPERATIONS
from cdc_postgres.preflight.role import physical_refused
from cdc_postgres.preflight.tables import examine_identity
from cdc_postgres.publication import PublicationState, add_table, create_publication
from cdc_postgres.sql import quote_identifier
from cdc_postgres.survey import NEWEST, Survey

VERIFIER_PLACE: Final = "/* PASSWORD '...' */"


def setup(context: ConnectorContext, admin: ConnectorContext) -> list[str]:
    """What is missing, in the order in which it can be made; from the settings alone where nobody answers."""
    role, database = role_and_database(context)
    try:
        connection = _connect(context, admin)
    except CdcError as failure:
        return [
            f"-- The server's state is not known ({failure}): all of it is written.",
            *_blind(context, role, database),
        ]
    try:
        survey = Survey(context, connection, role)
        statements = [*_role(survey, role), *_rights(survey, role), *_publication(survey)]
        advice = [*_server_advice(survey), *_identity_advice(survey)]
        return [*(statements or ["-- Role, rights and publication are as they should be."]), *advice]
    finally:
        connection.close()


def teardown(context: ConnectorContext, admin: ConnectorContext) -> list[str]:
    """Slot before publication: a slot that outlives its publication cannot be read. Raises AnotherInstance while it is read."""
    connection = _connect(context, admin)
    try:
        survey = Survey(context, connection, role_and_database(context)[0])
        if survey.slot is not None and survey.slot.active_pid is not None:
            raise AnotherInstance(
                f"slot {survey.slot_name} is being read by PID {survey.slot.active_pid}",
                fault="slot-active",
                action="Stop the connector first; the server notices the end of a killed one after wal_sender_timeout.",
            )
        return [*_drops(survey), *_remains(survey)]
    finally:
        connection.close()


def execute(context: ConnectorContext, admin: ConnectorContext, statements: Sequence[str]) -> Iterator[Finding]:
    """A finding for each statement, in order; one that fails does not keep the others from being tried."""
    connection = _connect(context, admin)
    try:
        for statement in statements:
            if statement.startswith("--"):
                continue
            try:
                connection.query(_with_password(statement, context, connection))
                yield Finding(Severity.OK, statement, "done")
            except CdcError as failure:
                yield Finding(Severity.ERROR, statement, str(failure), failure.action)
    finally:
        connection.close()


def role_and_database(context: ConnectorContext) -> tuple[str, str]:
    """As libpq will see them, its own variables and defaults included."""
    known = conninfo_to_dict(connection_options(context).conninfo(replication=False))
    defaults = {each.keyword.decode(): (each.val or b"").decode() for each in pq.Conninfo.get_defaults()}
    user = str(known.get("user") or defaults.get("user") or "")
    if not user:
        raise SettingsError("CDC_SOURCE names no user", fault="source-url", action="Write postgresql://user@host/db.")
    return user, str(known.get("dbname") or defaults.get("dbname") or user)


def _connect(context: ConnectorContext, admin: ConnectorContext) -> Connection:
    """As the administrator, but in the connector's database: rights, publication and slot are per database."""
    database = role_and_database(context)[1]
    url = urlsplit(admin.url)._replace(path=f"/{quote(database, safe='')}").geturl()
    return Connection(connection_options(replace(admin, url=url)), replication=False)


def _with_password(statement: str, context: ConnectorContext, connection: Connection) -> str:
    """The server gets a verifier: neither it nor its log ever sees the password."""
    if VERIFIER_PLACE not in statement or context.password is None:
        return statement
    role, _ = role_and_database(context)
    secret = context.password.get_secret_value()
    verifier = connection.pgconn.encrypt_password(secret.encode(), role.encode(), b"scram-sha-256")
    return statement.replace(VERIFIER_PLACE, f"PASSWORD {connection.literal(verifier.decode())}", 1)


# -- what is missing -------------------------------------------------------------------------------------------------------


def _role(survey: Survey, name: str) -> Iterator[str]:
    role, quoted = survey.role, quote_identifier(name)
    if role is None:
        yield from _create_role(name)
        yield from _host_based(name, survey.database)
        return
    lacking = [word for word, has in (("LOGIN", role.login), ("REPLICATION", role.replication)) if not has]
    if lacking and not role.superuser:
        yield f"ALTER ROLE {quoted} {' '.join(lacking)};"
    if not role.connect:
        yield f"GRANT CONNECT ON DATABASE {quote_identifier(survey.database)} TO {quoted};"


def _create_role(name: str) -> Iterator[str]:
    yield f"CREATE ROLE {quote_identifier(name)} LOGIN REPLICATION {VERIFIER_PLACE};"
    yield (
        "-- `cdc setup --apply` gives the role CDC_SOURCE_PASSWORD; by hand: "
        f"\\password {quote_identifier(name)} in psql, which shows it to nobody."
    )


def _host_based(role: str, database: str) -> Iterator[str]:
    quoted = quote_identifier(role)
    yield "-- pg_hba.conf, above its other lines; then SELECT pg_reload_conf(). The second line is for logical replication too:"
    yield f"--   {physical_refused(quoted)}"
    yield f"--   hostssl {quote_identifier(database)} {quoted} <the connector's address> scram-sha-256"


def _rights(survey: Survey, name: str) -> Iterator[str]:
    if survey.role is not None and survey.role.superuser:
        return
    quoted = quote_identifier(name)
    rights = {t: survey.rights[t.schema, t.name] for t in survey.tables if t.publishable}
    for schema in sorted({table.schema for table, right in rights.items() if not right.usage}):
        yield f"GRANT USAGE ON SCHEMA {quote_identifier(schema)} TO {quoted};"
    for table, right in rights.items():
        if not right.select:
            yield f"GRANT SELECT ON {table.quoted} TO {quoted};"


def _publication(survey: Survey) -> Iterator[str]:
    """A table whose UPDATE would fail once it is published is left out: advice follows."""
    state = survey.publication
    publishable = [table for table in survey.tables if table.publishable and table not in survey.harmful]
    if state is None:
        yield f"{create_publication(survey.publication_name, publishable, survey.version * 10000)};"
        return
    for table in publishable:
        if not survey.published(table):
            yield f"{add_table(survey.publication_name, table)};"
    if wrong := _options(survey, state):
        yield f"ALTER PUBLICATION {quote_identifier(survey.publication_name)} SET ({', '.join(wrong)});"


def _options(survey: Survey, state: PublicationState) -> list[str]:
    wrong = []
    if set(state.operations.split(",")) != set(OPERATIONS.split(",")):
        wrong.append(f"publish = '{OPERATIONS}'")
    if not state.via_root:
        wrong.append("publish_via_partition_root = true")
    if survey.publication_extras.generated is False:
        wrong.append("publish_generated_columns = stored")
    return wrong


def _server_advice(survey: Survey) -> Iterator[str]:
    if survey.settings["wal_level"] != "logical":
        yield "-- Needed, with a restart of the server: ALTER SYSTEM SET wal_level = 'logical';"


def _identity_advice(survey: Survey) -> Iterator[str]:
    """A table's own definition is its owner's to change: never a statement, only a comment."""
    for table in survey.harmful:
        if table.publishable:
            yield f"-- {table.quoted} is left out: the application's own UPDATE and DELETE would fail once it is published. First:"
            for finding in examine_identity(survey, table):
                yield f"--   {finding.fix}"


def _blind(context: ConnectorContext, role: str, database: str) -> Iterator[str]:
    """Tables behind a wildcard cannot be told: the publication gets those that are named in full."""
    quoted = quote_identifier(role)
    named = [f"{quote_identifier(schema)}.{quote_identifier(name)}" for schema, name in context.selection.literals()]
    yield from _create_role(role)
    yield from _host_based(role, database)
    yield f"GRANT CONNECT ON DATABASE {quote_identifier(database)} TO {quoted};"
    for schema in sorted({schema for schema, _ in context.selection.literals()}):
        yield f"GRANT USAGE ON SCHEMA {quote_identifier(schema)} TO {quoted};"
    for table in named:
        yield f"GRANT SELECT ON {table} TO {quoted};"
    listed = f" FOR TABLE {', '.join(named)}" if named else ""
    options = "WITH (publish_via_partition_root = true)"
    yield f"CREATE PUBLICATION {quote_identifier(publication_name(context))}{listed} {options};"
    yield f"-- PostgreSQL {NEWEST}: WITH (publish_via_partition_root = true, publish_generated_columns = stored)"
    wild = [pattern.text for pattern in context.selection.patterns if not pattern.literal]
    if wild:
        yield f"-- The tables of {', '.join(wild)} need the same; `cdc setup` names them where the server answers."


# -- what is left behind ---------------------------------------------------------------------------------------------------


def _drops(survey: Survey) -> Iterator[str]:
    name = survey.literal(survey.slot_name)
    if survey.slot is not None:
        yield f"SELECT pg_drop_replication_slot({name});"
    if survey.publication is not None:
        yield f"DROP PUBLICATION {quote_identifier(survey.publication_name)};"


def _remains(survey: Survey) -> Iterator[str]:
    if survey.role is not None and not survey.role.superuser:
        yield (
            f"-- role {survey.role.name} and its rights; an administrator removes them, in each database that it has rights in: "
            f"DROP OWNED BY {survey.role.quoted}; DROP ROLE {survey.role.quoted};"
        )
