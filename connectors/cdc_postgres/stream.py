"""COPY BOTH: messages in, feedback out. What was read, how far the server may forget, and when it was last heard.

Nothing here confirms on its own: `confirmed` is moved by the source when the checkpoint is durable, and never goes back.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg

from cdc.errors import CdcError, MalformedMessage, SourceOutage
from cdc.failpoints import hit
from cdc.model.event import Event
from cdc_postgres.commands import status_update
from cdc_postgres.connection import Connection, failed
from cdc_postgres.faults import translate
from cdc_postgres.pgoutput import Decoder, u64

KEEPALIVE_SIZE = 18  # 'k', Int64 end of WAL, Int64 clock, Int8 reply requested


class WalStream:
    """One START_REPLICATION. `define` is called with each Relation and Type message, before its rows are decoded."""

    def __init__(
        self,
        connection: Connection,
        decoder: Decoder,
        define: Callable[[Any, list[Event]], None],
        confirmed: int,
        *,
        status_interval: float,
        silence_limit: float,
    ) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._decoder = decoder
        self._define = define
        self._status_interval = status_interval
        self._silence_limit = silence_limit
        self._silence = 0.0
        self._probed = False
        self._next_status = 0.0
        self._unsent = False
        self.confirmed = confirmed
        self.received = confirmed
        self.server_end = confirmed
        self.server_clock_us = 0
        self.progress = 0

    def read(self, events: list[Event], max_bytes: int, timeout: float) -> int:
        """Append what has arrived, at most about `max_bytes`, waiting up to `timeout` seconds for the first. Returns bytes."""
        size = 0
        get = self._pgconn.get_copy_data
        decode = self._decoder.decode
        try:
            while size < max_bytes:
                count, view = get(1)
                if count > 0:
                    data = bytes(view)
                    size += count
                    if data[0] == 0x77:
                        told = decode(data, events)
                        if told is not None:
                            self._define(told, events)
                    elif data[0] == 0x6B:
                        self._keepalive(data)
                    else:
                        raise MalformedMessage("CopyData", "message type", 0, f"0x{data[0]:02x} is neither w nor k")
                elif count < 0:
                    raise self._ended()
                elif size or not self._wait(timeout):
                    break
                else:
                    timeout = 0.0
        except psycopg.Error as error:
            raise translate(None, str(error)) from None
        if size:
            hit("postgres.received")
            self._heard(data)
        return size

    def _heard(self, data: bytes) -> None:
        self._silence = 0.0
        self._probed = False
        if data[0] == 0x77:
            self.received = max(self.received, u64(data, 1))
            self.server_end = max(self.server_end, u64(data, 9))
            self.server_clock_us = u64(data, 17)

    def _wait(self, timeout: float) -> bool:
        """Wait for bytes; when there are none for long, ask the server whether it lives, then give it up."""
        began = time.monotonic()
        if select.select([self._pgconn.socket], [], [], timeout)[0]:
            self._pgconn.consume_input()
            return True
        self._silence += time.monotonic() - began
        if self._silence > self._silence_limit:
            raise SourceOutage(
                f"the server was silent for {self._silence:.0f} s",
                fault="source-silent",
                action="Nothing, unless it lasts. Decoding a very large foreign transaction may need a higher CDC_POSTGRES_SILENCE_LIMIT.",
            )
        if self._silence > self._silence_limit / 2 and not self._probed:
            self._probed = True
            self._send(reply=True)
        return False

    def _keepalive(self, data: bytes) -> None:
        """Primary keepalive ('k'). Its end of WAL is progress for us only between transactions: all before it was sent."""
        if len(data) != KEEPALIVE_SIZE:
            raise MalformedMessage("Primary keepalive", "length", len(data), f"expected {KEEPALIVE_SIZE} bytes")
        self.server_end = max(self.server_end, u64(data, 1))
        self.server_clock_us = u64(data, 9)
        if self._decoder.transaction is None:
            self.progress = max(self.progress, u64(data, 1))
            self.received = max(self.received, self.progress)
        if data[17]:
            self._next_status = 0.0
            self.feedback()

    def confirm(self, position: int) -> None:
        """The one place where the confirmed position moves: forward only."""
        if position > self.confirmed:
            self.confirmed = position
            self._next_status = 0.0
            self.feedback()

    def feedback(self) -> None:
        """A status update when one is due; also finishes sending what the socket did not take."""
        try:
            if self._unsent:
                self._flush()
            if time.monotonic() >= self._next_status:
                self._send(reply=False)
        except psycopg.Error as error:
            raise translate(None, str(error)) from None

    def _send(self, *, reply: bool) -> None:
        hit("postgres.before-feedback")
        message = status_update(self.received, self.confirmed, time.time_ns() // 1000, reply)
        if self._pgconn.put_copy_data(message) == 1:  # 0: the buffer is full; what is in it will do
            self._next_status = time.monotonic() + self._status_interval
        self._flush()
        hit("postgres.after-feedback")

    def _flush(self) -> None:
        self._unsent = self._pgconn.flush() == 1

    def _ended(self) -> CdcError:
        """The server ended the COPY: with an error, or because it shuts down."""
        result = self._pgconn.get_result()
        if result is not None and (error := result.error_message):
            return failed(result) if result.error_field(67) else translate(None, error.decode("utf-8", "replace"))
        return SourceOutage("the server ended the stream", fault="stream-ended", action="Nothing, unless it lasts.")
