"""The `Source` port over PostgreSQL: connect, prove that the log continues, stream, confirm.

What may be created is created in this order, each step healed by a restart: intent checkpoint, publication, slot, first checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from cdc.errors import AnotherInstance, CdcError, PositionLost, SettingsError, SourceOutage
from cdc.failpoints import hit
from cdc.model.checkpoint import Checkpoint, Mark, Phase, Unfinished
from cdc.model.event import Event, Gap
from cdc.model.source_block import Constant, Fact, Slot, SourceLayout, Text
from cdc.observe.logs import get_logger
from cdc.ports import Batch, ConnectorContext, SourceStatus
from cdc_postgres.catalog import TABLES_QUERY, Catalog, TableState, parse_tables
from cdc_postgres.commands import (
    SlotState,
    SystemIdentity,
    create_slot,
    parse_identify_system,
    parse_slot,
    parse_timeline_history,
    slot_query,
    start_replication,
)
from cdc_postgres.connection import Connection
from cdc_postgres.continuity import Lost, judge
from cdc_postgres.identity import (
    connection_options,
    established_source,
    intended_source,
    publication_name,
    slot_name,
)
from cdc_postgres.lsn import format_lsn, parse_lsn
from cdc_postgres.pgoutput import EPOCH_SHIFT, Decoder, RelationMessage, TypeMessage
from cdc_postgres.publication import (
    PublicationState,
    create_publication,
    give_identity,
    join_tables,
    missing_tables,
    parse_publication,
    publication_query,
    without_identity,
)
from cdc_postgres.relations import Relations
from cdc_postgres.settings import PostgresSettings
from cdc_postgres.sql import Rows
from cdc_postgres.stream import WalStream
from cdc_postgres.text import text_reader
from cdc_postgres.watch import Watch

BUSY_MARGIN = 10.0  # seconds beyond the server's time-out in which our own dead walsender must have gone
BLOCKERS = (
    "SELECT string_agg(pid || ' (xid ' || coalesce(backend_xid::text, '-') || ', since ' || xact_start || ')', ', ') "
    "FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
)
LAYOUT_FIELDS = (
    ("version", Slot.VERSION),
    ("connector", Constant("postgresql")),
    ("name", Slot.NAME),
    ("ts_ms", Slot.COMMIT_MS),
    ("snapshot", Constant("false")),
    ("db", None),
    ("sequence", Text(("[", Fact(3), ',"', Slot.OFFSET, '"]'))),
    ("ts_us", Slot.COMMIT_US),
    ("ts_ns", Slot.COMMIT_NS),
    ("schema", Slot.SCHEMA),
    ("table", Slot.TABLE),
    ("txId", Fact(0)),
    ("lsn", Slot.OFFSET),
    ("xmin", Constant(None)),
    ("origin", Fact(1)),
    ("origin_lsn", Fact(2)),
    ("schema_version", Slot.SCHEMA_VERSION),
)


class PostgresSource:
    """One slot of one database."""

    def __init__(self, context: ConnectorContext) -> None:
        settings: PostgresSettings = context.settings
        self._context = context
        self._settings = settings
        self.slot = slot_name(context)
        self.publication = publication_name(context)
        self._options = connection_options(context)
        self._catalog = Catalog(self._options)
        self._log = get_logger(name=context.name)
        self._connection: Connection | None = None
        self._stream: WalStream | None = None
        self._watch: Watch | None = None
        self._layout: SourceLayout | None = None
        self._busy_since: float | None = None
        self._suppressed = 0
        self._warned: set[str] = set()

    # -- start ----------------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> SourceLayout:
        assert self._layout is not None, "start comes first"
        return self._layout

    def start(self, checkpoint: Checkpoint | None, save: Callable[[Checkpoint], None]) -> Checkpoint:
        identity = self._connect()
        if checkpoint is None:
            checkpoint = self._intend(identity)
            save(checkpoint)
            hit("postgres.intent-saved")
        if checkpoint.phase is Phase.INTENT:
            checkpoint = self._establish(identity, checkpoint)
            save(checkpoint)
            hit("postgres.first-checkpoint")
        elif (lost := self._judge(identity, checkpoint)) is not None:
            checkpoint = self._accept_gap(identity, checkpoint, lost)
            save(checkpoint)
            hit("postgres.gap-saved")
            checkpoint = self._establish(identity, checkpoint)
            hit("postgres.gap-established")
            save(checkpoint)
        else:
            checkpoint = self._on_this_timeline(identity, checkpoint)
        self._begin(identity, checkpoint)
        return checkpoint

    def rewind(self, checkpoint: Checkpoint) -> Checkpoint:
        """As `start`, but what would be a wrong setting at the start is an outage once it has worked."""
        self.disconnect()
        try:
            identity = self._connect()
            if (lost := self._judge(identity, checkpoint)) is not None:
                raise _position_lost(lost, checkpoint)
            checkpoint = self._on_this_timeline(identity, checkpoint)
            self._begin(identity, checkpoint)
        except SettingsError as error:
            raise SourceOutage(str(error), fault=error.fault, action=error.action) from error
        return checkpoint

    def _connect(self) -> SystemIdentity:
        self.disconnect()
        self._connection = connection = Connection(self._options, replication=True)
        if connection.server_version < 130000:
            raise SettingsError(
                f"PostgreSQL {connection.server_version // 10000} is too old", action="Use PostgreSQL 13 or later."
            )
        return parse_identify_system(connection.query("IDENTIFY_SYSTEM"))

    @property
    def _open(self) -> Connection:
        assert self._connection is not None
        return self._connection

    def _slot_state(self) -> SlotState | None:
        return parse_slot(self._ask(slot_query(self._open.literal(self.slot), self._open.server_version)))

    def _ask(self, sql: str) -> Rows:
        """A question or a command in SQL, never on the replication connection.

        What a walsender has looked up before START_REPLICATION stays in its caches: from PostgreSQL 16 on, one look at
        pg_publication_tables there decodes a backlog with the tables' shapes of today (P23).
        """
        return self._catalog.query(sql)

    def _publication_state(self) -> PublicationState | None:
        return parse_publication(self._ask(publication_query(self._open.literal(self.publication))))

    def _intend(self, identity: SystemIdentity) -> Checkpoint:
        if self._slot_state() is not None:
            raise PositionLost(
                f"replication slot {self.slot} exists, and no checkpoint knows it: what it has delivered, and to whom, cannot be told",
                fault="slot-unknown",
                action="`cdc checkpoint adopt` goes on from the slot's own position; or drop the slot; or give another CDC_POSTGRES_SLOT.",
            )
        source = intended_source(identity, self.slot, self.publication)
        return Checkpoint(self._context.name, Phase.INTENT, source, Mark("", None, {}), "")

    def _establish(self, identity: SystemIdentity, intent: Checkpoint) -> Checkpoint:
        """Publication before slot: a slot decodes old log with the catalog of that time, and would not find the publication (P20)."""
        known = intent.source
        if known["system_id"] != identity.system_id or known["slot"] != self.slot:
            raise PositionLost(
                "the checkpoint was begun on another server or for another slot",
                fault="another-server",
                action="Restore CDC_SOURCE and CDC_POSTGRES_SLOT, or `cdc checkpoint reset`.",
            )
        hit("postgres.before-publication")
        publication = self._ensure_publication()
        hit("postgres.publication-ready")
        slot = self._slot_state()
        if slot is not None and (slot.lost or self._older_than_publication(intent)):
            self._ask(f"SELECT pg_drop_replication_slot({self._open.literal(self.slot)})")
            slot = None
        position = slot.confirmed if slot is not None and slot.confirmed is not None else self._create_slot()
        hit("postgres.slot-created")
        source = established_source(known, identity, self.publication, publication.oid)
        memory = dict(intent.mark.memory)
        gaps = intent.gaps
        if memory.get("gap"):
            gaps = (*gaps[:-1], replace(gaps[-1], missing_to=format_lsn(position)))
        return replace(
            intent, phase=Phase.STREAMING, source=source, mark=Mark(format_lsn(position), None, memory), gaps=gaps
        )

    def _older_than_publication(self, intent: Checkpoint) -> bool:
        """Before 18 the server ends the stream at a row that is older than the publication (P20); 18 passes over such rows."""
        recreated = bool(intent.gaps) and intent.gaps[-1].reason.startswith("publication-recreated")
        return recreated and bool(intent.mark.memory.get("gap")) and self._open.server_version < 180000

    def _ensure_publication(self) -> PublicationState:
        tables = parse_tables(self._ask(TABLES_QUERY), self._context.selection)
        found = self._publication_state()
        if found is None:
            publishable = [table for table in tables if table.publishable]
            self._refuse_harm(publishable)
            statement = create_publication(self.publication, publishable, self._open.server_version)
            if "publication" not in self._settings.create:
                raise _needs(
                    f"publication {self.publication} does not exist, and CDC_POSTGRES_CREATE does not allow to make it",
                    statement,
                )
            try:
                self._ask(statement)
            except SettingsError as error:
                raise _needs(
                    f"publication {self.publication} does not exist and cannot be made: {error}", statement
                ) from error
            found = self._publication_state()
            assert found is not None
        else:
            missing = missing_tables(found, tables)
            join_tables(self._catalog.connection(), self.publication, missing, self._settings, self._warn_missing)
        return found

    def _refuse_harm(self, tables: list[TableState]) -> None:
        """P16: what would break the application takes the operator's word."""
        if harmful := without_identity(tables, self._settings.keyless):
            names = ", ".join(table.qualified_name for table in harmful)
            raise SettingsError(
                f"without a replica identity: {names}. Once they are published, the application's own UPDATE and DELETE on them fail",
                fault="table-without-identity",
                action=give_identity(harmful[0]),
            )

    def _warn_missing(self, table: TableState, action: str) -> None:
        if action not in self._warned:
            self._warned.add(action)
            self._log.warning(
                "a selected table is not published",
                fault="table-not-published" if table.keyed else "table-without-identity",
                table=table.qualified_name,
                action=action,
            )

    def _create_slot(self) -> int:
        if "slot" not in self._settings.create:
            raise _needs(
                f"replication slot {self.slot} does not exist, and CDC_POSTGRES_CREATE does not allow to make it",
                f"SELECT pg_create_logical_replication_slot({self._open.literal(self.slot)}, 'pgoutput')",
                " and then `cdc checkpoint adopt`",
            )
        rows = self._open.query(create_slot(self.slot), self._settings.slot_timeout, self._tell_blockers)
        position = rows[0][1]
        assert position
        return parse_lsn(position)

    def _tell_blockers(self) -> None:
        """A slot's start waits for every transaction that runs (P33): say for which."""
        with suppress(CdcError):
            rows = self._catalog.query(BLOCKERS)
            self._log.warning(
                "the slot waits for running transactions",
                fault="slot-waits",
                action=f"End them: pid {rows[0][0] or 'unknown'}",
            )

    def _judge(self, identity: SystemIdentity, checkpoint: Checkpoint) -> Lost | None:
        if checkpoint.source.get("slot") != self.slot:
            return Lost(
                "slot-renamed",
                f"the checkpoint belongs to slot {checkpoint.source.get('slot')}, CDC_POSTGRES_SLOT says {self.slot}",
                "unknown",
            )
        history: Mapping[int, int] = {}
        if identity.timeline > checkpoint.source["timeline"]:
            content = self._open.query(f"TIMELINE_HISTORY {identity.timeline}")[0][1]
            history = parse_timeline_history(content or "")
        publication = self._publication_state()
        slot = self._slot_state()
        lost = judge(
            checkpoint.source,
            parse_lsn(checkpoint.mark.position),
            identity,
            slot,
            history,
            publication.oid if publication else None,
        )
        if lost is None and publication is None:
            raise SourceOutage(
                f"publication {self.publication} does not exist any more",
                fault="publication-missing",
                action="Rows written without it are not published: make it again (`cdc setup`) and set CDC_ON_POSITION_LOST=accept-gap.",
            )
        # A slot that somebody reads is ahead because of that: who reads it is the question, also where gaps are accepted.
        unlost = lost is None or lost.fault == "slot-ahead"
        if unlost and slot is not None and slot.active_pid is not None:
            raise self._slot_is_busy(f"PID {slot.active_pid}", slot.address)
        self._busy_since = None
        return lost

    def _slot_is_busy(self, owner: str, address: str) -> CdcError:
        """Another reader, or our own walsender that has not noticed our death: time will tell which."""
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        setting = self._ask("SELECT setting::bigint / 1000 FROM pg_settings WHERE name = 'wal_sender_timeout'")[0][0]
        patience = max(float(setting or 0), self._settings.sender_timeout) + BUSY_MARGIN
        where = f"{owner} at {address or 'a local socket'}"
        if now - self._busy_since > patience:
            return AnotherInstance(
                f"slot {self.slot} is active for {where}",
                fault="slot-active",
                action="One connector reads one slot: stop the other, or give this one its own CDC_NAME.",
            )
        return SourceOutage(
            f"slot {self.slot} is active for {where}",
            fault="slot-active",
            action=f"Waiting up to {patience:.0f} s for it to go.",
        )

    def _accept_gap(self, identity: SystemIdentity, checkpoint: Checkpoint, lost: Lost) -> Checkpoint:
        """The gap is durable before anything is made anew, and published with the first batch."""
        if self._context.on_position_lost != "accept-gap" or lost.fault == "slot-foreign":
            raise _position_lost(lost, checkpoint)
        gap = Gap(checkpoint.mark.position, lost.missing_to, f"{lost.fault}: {lost.why}")
        self._log.warning("gap accepted", fault=lost.fault, missing_from=gap.missing_from, missing_to=gap.missing_to)
        source = intended_source(identity, self.slot, self.publication)
        memory = {**checkpoint.mark.memory, "gap": True}
        return replace(
            checkpoint, phase=Phase.INTENT, source=source, mark=Mark("", None, memory), gaps=(*checkpoint.gaps, gap)
        )

    def _on_this_timeline(self, identity: SystemIdentity, checkpoint: Checkpoint) -> Checkpoint:
        if identity.timeline == checkpoint.source["timeline"]:
            return checkpoint
        self._log.warning(
            "the server was promoted",
            fault="promotion",
            timeline=identity.timeline,
            before=checkpoint.source["timeline"],
        )
        return replace(checkpoint, source={**checkpoint.source, "timeline": identity.timeline})

    def _begin(self, identity: SystemIdentity, checkpoint: Checkpoint) -> None:
        connection, mark = self._open, checkpoint.mark
        position = parse_lsn(mark.position)
        name = self._context.name
        fields = tuple(
            (field, Constant(identity.database) if value is None else value) for field, value in LAYOUT_FIELDS
        )
        self._layout = SourceLayout(f"{name}:{identity.system_id}", fields)
        encoding = connection.query("SHOW server_encoding")[0][0]
        text = None
        if encoding == "SQL_ASCII":  # with UTF8 the server itself would end the stream at the first byte that is none
            connection.query("SET client_encoding = 'SQL_ASCII'")
            text = text_reader(self._context.invalid_text)
        self._relations = Relations(mark.memory, self._context.selection, self._catalog, text)
        self._decoder = Decoder(position, mark.memory.get("last_commit"))
        self._began_at = self._position = position
        self._unfinished = mark.unfinished
        self._gap = checkpoint.gaps[-1] if mark.memory.get("gap") else None
        self._frozen: tuple[object, dict[str, Any]] = (None, {})
        self._last_commit_us = 0
        connection.query(f"SET wal_sender_timeout = '{self._settings.sender_timeout * 1000:.0f}ms'")
        hit("postgres.before-streaming")
        messages = self._settings.messages and connection.server_version >= 140000
        try:
            connection.query(start_replication(self.slot, position, self.publication, messages))
        except SourceOutage as busy:
            if busy.fault == "slot-active":
                raise self._slot_is_busy("another process", "") from busy
            raise
        self._busy_since = None
        self._stream = WalStream(
            connection,
            self._decoder,
            self._define,
            position,
            status_interval=self._settings.status_interval,
            silence_limit=self._settings.silence_limit,
        )
        self._watch = Watch(
            self._options, self._context.selection, self.publication, self.slot, self._settings, self._warn_missing
        )
        hit("postgres.streaming")

    # -- the turn -------------------------------------------------------------------------------------------------------

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        assert self._stream is not None
        events: list[Event] = []
        if self._gap is not None:
            events.append(self._gap)
            self._gap = None
            timeout = 0.0
        size = self._stream.read(events, max_bytes, timeout)
        if not size and not events:
            return None
        transaction = self._decoder.transaction
        if transaction is not None:
            self._last_commit_us = transaction.commit_us
        return Batch(events, self._mark(), size)

    def _mark(self) -> Mark:
        assert self._stream is not None
        decoder = self._decoder
        transaction = decoder.transaction
        self._position = max(self._position, decoder.position, self._stream.progress)
        tables = (
            self._frozen[1] if transaction is not None and self._frozen[0] is transaction else self._relations.memory()
        )
        memory = {**tables, "last_commit": decoder.last_commit}
        return Mark(format_lsn(self._position), self._progress_inside(), memory)

    def _progress_inside(self) -> Unfinished | None:
        """How much of the transaction under way was read; never less than the checkpoint knows to be durable."""
        decoder, known = self._decoder, self._unfinished
        transaction = decoder.transaction
        if transaction is None or decoder.touched:
            return known if decoder.position <= self._began_at else None
        if known is not None and known.position == transaction.position:
            return Unfinished(
                known.position, max(known.ordinal, decoder.ordinal), max(known.messages, decoder.messages)
            )
        return Unfinished(transaction.position, decoder.ordinal, decoder.messages)

    def _define(self, told: RelationMessage | TypeMessage, events: list[Event]) -> None:
        if isinstance(told, TypeMessage):
            self._relations.name_type(told)
            return
        transaction = self._decoder.transaction
        if self._frozen[0] is not transaction:
            self._frozen = (transaction, self._relations.memory())
        try:
            plan, new = self._relations.plan(told)
        except SettingsError as error:  # the catalog's login worked at the start: a rotated password, say
            raise SourceOutage(str(error), fault=error.fault, action=error.action) from error
        self._decoder.define(told.oid, plan)
        if new is not None:
            self._log.info(
                "table version",
                table=new.qualified_name,
                version=new.version,
                columns=len(new.columns),
                keyed=bool(new.key),
            )

    def idle(self) -> None:
        assert self._stream is not None and self._watch is not None
        self._stream.feedback()
        self._watch.look()

    def confirm(self, mark: Mark) -> None:
        assert self._stream is not None
        self._stream.confirm(parse_lsn(mark.position))

    def status(self) -> SourceStatus:
        stream = self._stream
        if stream is None:
            return SourceStatus("", None, None, None, self._suppressed)
        lag = max(0, stream.server_end - stream.confirmed)
        behind = self._decoder.transaction is not None and stream.server_clock_us
        from_epoch = stream.server_clock_us + EPOCH_SHIFT
        seconds = max(0.0, (from_epoch - self._last_commit_us) / 1e6) if behind else 0.0
        retained = self._watch.retained if self._watch else None
        return SourceStatus(
            format_lsn(stream.confirmed), lag, seconds, retained, self._suppressed + self._decoder.suppressed
        )

    def disconnect(self) -> None:
        if self._stream is not None:
            self._suppressed += self._decoder.suppressed
            self._stream = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._catalog.close()

    def close(self) -> None:
        self.disconnect()


def _position_lost(lost: Lost, checkpoint: Checkpoint) -> PositionLost:
    missing = f"missing: from {checkpoint.mark.position} to {lost.missing_to}"
    return PositionLost(f"{lost.why}; {missing}", fault=lost.fault, action=lost.action)


def _needs(why: str, statement: str, then: str = "") -> SettingsError:
    return SettingsError(
        why, fault="setup-needed", action=f"Run as an administrator: {statement};{then} (`cdc setup` prints all of it)"
    )
