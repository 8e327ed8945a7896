"""The only border between rooms: what the engine asks of a source, a sink, an encoder and a checkpoint store.

Batches cross it, never single events. Everything here is called from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, SecretStr

from cdc.errors import CdcError, SinkOutage
from cdc.model.checkpoint import Checkpoint, Mark, Unfinished
from cdc.model.event import Event
from cdc.model.finding import Fault, Finding
from cdc.model.record import Record
from cdc.model.selection import TableSelection
from cdc.model.source_block import SourceLayout


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in log order, and where a reader stands that has all of them. A transaction may span batches.

    `size` is what the batch took from the wire, in bytes.
    """

    events: list[Event]
    mark: Mark
    size: int


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """For health and logs. Lag is behind the server's end of log; None is what the source cannot tell now.

    `suppressed` counts rows that came again and were in the checkpoint already.
    """

    position: str
    lag_bytes: int | None
    lag_seconds: float | None
    retained_bytes: int | None
    suppressed: int


class Source(Protocol):
    """A database's log.

    Raises `SourceOutage` for what heals by reconnecting, `PositionLost`, `DataError`, `AnotherInstance` or `SettingsError` else.
    """

    @property
    def layout(self) -> SourceLayout:
        """How this connector's `source` block is built."""
        ...

    def start(self, checkpoint: Checkpoint | None, save: Callable[[Checkpoint], None]) -> Checkpoint:
        """Connect, prove that the log continues from `checkpoint`, and begin to stream.

        Without a checkpoint: `save` an intent before anything is created on the server, then create, then stream. Returns the
        checkpoint that holds now.
        """
        ...

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """The next events, at most about `max_bytes`; None when nothing came within `timeout` seconds."""
        ...

    def idle(self) -> None:
        """Feedback and heartbeats that are due. Called at least once a turn, also while nothing is read."""
        ...

    def confirm(self, mark: Mark) -> None:
        """Everything up to `mark` is in the durable checkpoint: the server may forget it. Never goes back."""
        ...

    def rewind(self, checkpoint: Checkpoint) -> Checkpoint:
        """Forget what was read and stream again from `checkpoint`. Also the way to reconnect.

        Returns the checkpoint that holds now: the same, with what was learned of the source (another timeline, say).
        """
        ...

    def status(self) -> SourceStatus: ...

    def close(self) -> None: ...


class Ticket(Protocol):
    """What a sink tells about the records of one batch. Called once for each record that `offer` took.

    Called from `poll`, `flush` and `purge` only, never from within `offer`. What it raises comes out of there.
    """

    def __call__(self, error: Any, message: Any) -> None:
        """`error` is None when the record is durable.

        Shaped as a client library's delivery callback, to be handed over as it is: what the two arguments hold is the
        library's own, and `Sink.explain` puts it into words.
        """
        ...


class Sink(Protocol):
    """A broker. Acknowledges in any order; keeps the order of records that share an ordering key."""

    def open(self) -> None:
        """Make a client. An unreachable broker is not an error here: it shows in `outage`."""
        ...

    def offer(self, records: Sequence[Record], start: int, ticket: Ticket) -> int:
        """Take records from index `start` on; never blocks. Returns how many were taken; 0 = full, or an outage.

        Taking a record is a promise: `ticket` is called for it exactly once. After a `purge`, calls for what was taken
        before it mean nothing. Raises `RecordRefused` for a record that can never be sent: those that it counts as
        `taken` were taken, that record and all after it were not.
        """
        ...

    def poll(self, timeout: float) -> None:
        """Let acknowledgements reach their tickets, waiting at most `timeout` seconds for the first.

        An outage is told by `outage`, not raised. Raises `SettingsError` for what cannot heal while this process lives.
        """
        ...

    def explain(self, error: Any, message: Any) -> CdcError:
        """What a ticket's failed report means, and where the sink learns from it. Not called from within the ticket."""
        ...

    def purge(self, timeout: float) -> bool:
        """Drop what is queued and wait until nothing is in flight, so that nothing old can land after what comes next.

        One step of at most about `timeout` seconds, so that a signal can come between; call it until it says True.
        """
        ...

    def outage(self) -> SinkOutage | None:
        """Why nothing is delivered now, in words, with the catalogue's name and the cure; None when all is well."""
        ...

    def flush(self, timeout: float) -> bool:
        """Wait until every taken record is acknowledged. False when time ran out."""
        ...

    def close(self) -> None:
        """Drop what was not acknowledged and let go of the broker. Nothing is sent any more."""
        ...


class Encoder(Protocol):
    """Events to records. Keeps the numbering of the transaction under way; forgets it at `resume`."""

    def resume(self, unfinished: Unfinished | None) -> None:
        """Begin anew; what `unfinished` says is durable already is counted but not encoded again."""
        ...

    def encode(self, events: Sequence[Event]) -> list[Record]: ...


class CheckpointStore(Protocol):
    """Where the checkpoint is kept. One process at a time."""

    def acquire(self) -> None:
        """Take the lock, or raise `AnotherInstance`."""
        ...

    def load(self) -> Checkpoint | None:
        """None only where there never was one; `CheckpointUnreadable` where there is one that cannot be trusted."""
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Durable when it returns; else `CheckpointUnwritable`, and the old one stands."""
        ...

    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """What a connector is told: the engine's settings that concern it, and its own.

    `url` carries no password. `tls` is None when the operator said nothing (the connector then decides by host: loopback plain,
    anything else `verify-full`). `keys` overrides the key of a table: qualified name → column names. `memory` is the byte budget.
    `settings` is an instance of the connector's own settings model.
    """

    name: str
    url: str
    password: SecretStr | None
    tls: str | None
    tls_ca: str
    selection: TableSelection
    keys: Mapping[str, tuple[str, ...]]
    memory: int
    on_position_lost: str
    invalid_text: str
    settings: Any


@dataclass(frozen=True)
class Connector:
    """What a connector's entry point names: a frozen value, the same for ours and for a third party's.

    `settings` is a pydantic model whose fields become `CDC_<CONNECTOR>_…`. `open` gives a `Source` or a `Sink`. `preflight` gives
    findings for `cdc check`. `classify` tells what is known about an exception of the connector's driver.

    `tables` names the selected tables that are there, as (schema, table); `check_topics` examines the topics they will go to.
    `setup` and `teardown` give the SQL (or commands) that makes, or removes, what the connector needs on the server: each
    ends as a client for that server wants it, a comment begins with `--`. The second context says through whose eyes to
    look, the connector's own or an administrator's; `setup` must do with the settings alone where nobody answers.
    `execute` runs what the two gave as the second context's user, a finding each; comments are passed over.
    `adopt` makes a checkpoint for what exists on the server already (a slot) and changes nothing there. `driver` tells
    `cdc version` which libraries are loaded, a finding each; a build that should not be in production is a warning.
    """

    name: str
    schemes: tuple[str, ...]
    settings: type[BaseModel]
    open: Callable[[ConnectorContext], Any]
    preflight: Callable[[ConnectorContext, Checkpoint | None], list[Finding]]
    classify: Callable[[BaseException], Fault | None]
    tables: Callable[[ConnectorContext], list[tuple[str, str]]] | None = None
    setup: Callable[[ConnectorContext, ConnectorContext], list[str]] | None = None
    teardown: Callable[[ConnectorContext, ConnectorContext], list[str]] | None = None
    execute: Callable[[ConnectorContext, ConnectorContext, Sequence[str]], Iterator[Finding]] | None = None
    check_topics: Callable[[ConnectorContext, Sequence[str]], list[Finding]] | None = None
    adopt: Callable[[ConnectorContext], Checkpoint] | None = None
    driver: Callable[[], list[Finding]] | None = None
