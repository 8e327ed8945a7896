"""The stream over a connection that is written down: what we tell the server, when, and what silence and keepalives mean."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import SourceOutage
from cdc.model.event import Change
from cdc_postgres.connection import Connection
from cdc_postgres.faults import classify_state, translate
from cdc_postgres.pgoutput import Decoder
from cdc_postgres.stream import WalStream
from tests.unit import wire
from tests.unit.test_pgoutput import make_plan

BEGAN_AT = 0x100
STATUS = struct.Struct(">cQQQqB")


class WrittenDown:
    """Stands for psycopg's PGconn: gives what is in `arriving`, keeps what is sent. Its socket never has anything to read."""

    def __init__(self) -> None:
        self.arriving: list[bytes] = []
        self.sent: list[tuple[int, int, int, bool]] = []
        self.blocked = False
        self._ends = socket.socketpair()
        self.socket = self._ends[0].fileno()

    def get_copy_data(self, asynchronous: int) -> tuple[int, memoryview]:
        if not self.arriving:
            return 0, memoryview(b"")
        data = self.arriving.pop(0)
        return len(data), memoryview(data)

    def put_copy_data(self, message: bytes) -> int:
        if self.blocked:
            return 0
        _, written, flushed, applied, _, reply = STATUS.unpack(message)
        self.sent.append((written, flushed, applied, bool(reply)))
        return 1

    def flush(self) -> int:
        return int(self.blocked)

    def consume_input(self) -> None: ...

    def close(self) -> None:
        for end in self._ends:
            end.close()


@contextmanager
def opened(status_interval: float = 3600.0, silence_limit: float = 3600.0) -> Iterator[tuple[WalStream, WrittenDown]]:
    pgconn = WrittenDown()
    connection: Any = Connection.__new__(Connection)
    connection.pgconn = pgconn
    decoder = Decoder(0, None)
    decoder.define(1, make_plan())
    try:
        yield (
            WalStream(
                connection,
                decoder,
                lambda told, events: None,
                BEGAN_AT,
                status_interval=status_interval,
                silence_limit=silence_limit,
            ),
            pgconn,
        )
    finally:
        pgconn.close()


def keepalive(end: int, reply: bool = False) -> bytes:
    return b"k" + struct.pack(">QqB", end, 0, int(reply))


def test_P07_rising_keepalives_confirm_nothing() -> None:
    """Rows are undelivered, the sink holds them; the server hears of no progress but what was confirmed."""
    with opened(status_interval=0.0) as (stream, pgconn):
        pgconn.arriving += [wire.begin(), wire.insert([b"1", None, None]), wire.commit()]
        pgconn.arriving += [keepalive(end, reply=True) for end in (0x6000, 0x7000, 0x8000)]
        stream.read([], 1 << 20, 0.0)
        stream.feedback()
        assert len(pgconn.sent) >= 4
        assert {(flushed, applied) for _, flushed, applied, _ in pgconn.sent} == {(BEGAN_AT, BEGAN_AT)}
        stream.confirm(0x5030)
        assert pgconn.sent[-1][1] == 0x5030


@given(st.lists(st.integers(0, 2**40), max_size=30))
def test_P10_the_confirmed_position_never_goes_back(positions: list[int]) -> None:
    with opened(status_interval=0.0) as (stream, pgconn):
        for position in positions:
            stream.confirm(position)
            stream.feedback()
        flushed = [flushed for _, flushed, _, _ in pgconn.sent]
        assert flushed == sorted(flushed)
        assert stream.confirmed == max([BEGAN_AT, *positions])
        assert all(written >= flushed for written, flushed, _, _ in pgconn.sent)


def test_P08_a_keepalive_between_transactions_is_progress() -> None:
    with opened() as (stream, pgconn):
        pgconn.arriving += [keepalive(0x9000)]
        stream.read([], 1 << 20, 0.0)
        assert stream.progress == 0x9000


def test_P08_a_keepalive_inside_a_transaction_is_none() -> None:
    with opened() as (stream, pgconn):
        pgconn.arriving += [wire.begin(), keepalive(0x9000)]
        stream.read([], 1 << 20, 0.0)
        assert stream.progress == 0


def test_P14_a_message_is_no_progress() -> None:
    with opened() as (stream, pgconn):
        pgconn.arriving += [wire.message("p", b"x", False, lsn=0x9000)]
        stream.read([], 1 << 20, 0.0)
        assert stream.progress == 0
        assert stream._decoder.position == 0


def test_P29_a_server_that_asks_is_answered_at_once_also_inside_a_transaction() -> None:
    with opened() as (stream, pgconn):
        stream.feedback()
        pgconn.arriving += [wire.begin(), keepalive(0x6000, reply=True)]
        stream.read([], 1 << 20, 0.0)
        assert len(pgconn.sent) == 2


def test_P29_feedback_that_does_not_fit_is_sent_later() -> None:
    with opened() as (stream, pgconn):
        pgconn.blocked = True
        stream.confirm(0x200)
        assert pgconn.sent == []
        pgconn.blocked = False
        stream.feedback()
        assert pgconn.sent[-1][1] == 0x200


def test_P31_silence_is_probed_and_then_given_up() -> None:
    with opened(silence_limit=0.2) as (stream, pgconn):
        for _ in range(12):
            stream.read([], 1 << 20, 0.01)
        assert [reply for *_, reply in pgconn.sent] == [True]
        with pytest.raises(SourceOutage) as caught:
            for _ in range(100):
                stream.read([], 1 << 20, 0.01)
        assert caught.value.fault == "source-silent"


def test_P30_a_sign_of_life_begins_the_silence_anew() -> None:
    with opened(silence_limit=0.2) as (stream, pgconn):
        for _ in range(4):
            for _ in range(12):
                stream.read([], 1 << 20, 0.01)
            pgconn.arriving.append(keepalive(0x6000))
            stream.read([], 1 << 20, 0.0)
        assert [reply for *_, reply in pgconn.sent] == [True] * 4


def test_P52_positions_come_from_the_bodies_of_begin_and_commit() -> None:
    """Relation and Type have 0/0 in their headers, Begin the first change's LSN, Commit the end: none of them counts."""
    with opened() as (stream, pgconn):
        headless = [
            wire.xlog(message[25:], 0, 0) for message in (wire.relation([("id", True, 20)], oid=9), wire.type_name())
        ]
        events: list[Any] = []
        pgconn.arriving += [
            *headless,
            wire.xlog(wire.begin(final=0x5000)[25:], 0x10, 0x10),
            wire.insert([b"1", None, None], start=0x4000),
        ]
        stream.read(events, 1 << 20, 0.0)
        assert stream._decoder.position == 0
        assert isinstance(events[0], Change)
        assert (events[0].transaction.position, events[0].offset) == ("0/5000", 0x4000)
        pgconn.arriving += [wire.xlog(wire.commit(final=0x5000, end=0x5030)[25:], 0xFFFF, 0xFFFF), *headless]
        stream.read(events, 1 << 20, 0.0)
        assert stream._decoder.position == 0x5030
        assert stream.confirmed == BEGAN_AT


@pytest.mark.parametrize("sqlstate", ["58P01", "58030", "XX000", "XX001"])
def test_P50_what_may_pass_while_the_server_decodes_is_tried_again(sqlstate: str) -> None:
    """A spill file or a snapshot that is missing for a moment; CDC_RETRY_LIMIT ends what does not pass."""
    assert isinstance(translate(sqlstate, 'could not open file "pg_replslot/s/xid-1.spill"'), SourceOutage)
    assert classify_state(sqlstate, "").action
