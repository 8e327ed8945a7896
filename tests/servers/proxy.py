"""A TCP proxy that spoils the network on demand, between the program under test and a real server.

It runs in a thread of its own; every control may be called from any thread, and has taken effect when it returns.
What it cannot do is what only a kernel can: a peer that stops acknowledging segments. ``swallow`` stops reading, so a
sender sees a connection that is alive and, once the buffers between are full, takes no more bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Literal, Self, TypeVar

from tests.servers.process import free_port

Direction = Literal["to_upstream", "to_client"]
# The moment a chunk is due at the other end, with the chunk: empty at the end of file, an error where there is no end.
Parcel = tuple[float, bytes | OSError]

CHUNK_BYTES = 64 * 1024
CHUNKS_ON_THE_WAY = 64  # what a delay may hold: 4 MiB a direction and connection
CONTROL_SECONDS = 10.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger {on, zero seconds}: close() sends RST instead of FIN
FLUSH_ON_CLOSE = struct.pack("ii", 0, 0)

T = TypeVar("T")


class Flow:
    """One direction of all connections: its controls and its count."""

    def __init__(self) -> None:
        self.bytes = 0
        self.delay = 0.0
        self.open = asyncio.Event()
        self.open.set()

    async def receive(self, source: socket.socket, parcels: asyncio.Queue[Parcel]) -> None:
        loop = asyncio.get_running_loop()
        content: bytes | OSError = b"-"
        while content and not isinstance(content, OSError):
            await self.open.wait()
            try:
                content = await loop.sock_recv(source, CHUNK_BYTES)
            except OSError as error:
                content = error
            await parcels.put((time.monotonic() + self.delay, content))

    async def deliver(self, target: socket.socket, parcels: asyncio.Queue[Parcel]) -> None:
        """Until the end of file, which is passed on. Raises OSError when either side has reset."""
        loop = asyncio.get_running_loop()
        while True:
            due, content = await parcels.get()
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            await self.open.wait()
            if isinstance(content, OSError):
                raise content
            if not content:
                target.shutdown(socket.SHUT_WR)
                return
            self.bytes += len(content)  # before, so that whoever has received a byte finds it counted
            await loop.sock_sendall(target, content)


class Proxy:
    """Listens on ``host:port`` from ``start()`` on and passes everything to the upstream address."""

    host = "127.0.0.1"

    def __init__(self, upstream_host: str, upstream_port: int) -> None:
        self.port = free_port()
        self._upstream = (upstream_host, upstream_port)
        self._flows: dict[Direction, Flow] = {"to_upstream": Flow(), "to_client": Flow()}
        self._connections: set[asyncio.Task[None]] = set()
        self._accepted = 0
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections)

    @property
    def accepted(self) -> int:
        """How many have been accepted since the proxy was made."""
        return self._accepted

    def bytes(self, direction: Direction) -> int:
        """How many have been passed on since the proxy was made; held and delayed ones do not count yet."""
        return self._flows[direction].bytes

    def start(self) -> None:
        """Begin to listen; does nothing when it runs already."""
        if self._thread is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()
        self.accept()

    def close(self) -> None:
        """Reset what is open and end the thread."""
        if self._thread is None or self._loop is None:
            return
        self.refuse()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CONTROL_SECONDS)
        self._loop.close()
        self._thread = self._loop = None

    def cut(self) -> None:
        """Reset every connection, at both ends, with what is on the way. New ones are accepted as before."""
        aborted = self._call(self._abort)
        deadline = time.monotonic() + CONTROL_SECONDS
        while not self._connections.isdisjoint(aborted) and time.monotonic() < deadline:
            time.sleep(0.001)

    def refuse(self) -> None:
        """Close the listening port: connecting is refused. What is open stays so."""
        self._call(self._stop_listening)

    def accept(self) -> None:
        """Undo ``refuse``, on the same port."""
        self._call(self._listen)

    def swallow(self, direction: Direction | None = None) -> None:
        """Hold back all bytes, and the ends of file, of one direction or both, and close nothing.

        New connections are accepted and lead nowhere. What has been held is passed on by ``release``, lost by ``cut``.
        """
        for flow in self._chosen(direction):
            self._call(flow.open.clear)

    def release(self) -> None:
        """Undo ``swallow``: what was held arrives."""
        for flow in self._flows.values():
            self._call(flow.open.set)

    def delay(self, seconds: float, direction: Direction | None = None) -> None:
        """Let everything that comes in from now on arrive that much later; zero undoes it."""
        for flow in self._chosen(direction):
            flow.delay = seconds

    def _chosen(self, direction: Direction | None) -> list[Flow]:
        return [self._flows[direction]] if direction else list(self._flows.values())

    def _call(self, control: Callable[[], T]) -> T:
        """Run in the proxy's thread and wait for it."""
        if self._loop is None:
            raise RuntimeError("the proxy is not running")
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(control())
            except Exception as error:  # noqa: BLE001 - it belongs to the caller's thread
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(CONTROL_SECONDS)

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((self.host, self.port))
            self._listener.setblocking(False)
            asyncio.get_running_loop().add_reader(self._listener, self._admit)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._admit()
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _abort(self) -> list[asyncio.Task[None]]:
        self._admit()
        return [task for task in self._connections if task.cancel()]

    def _admit(self) -> None:
        """Serve the connections that the kernel has accepted: for their clients they are open already."""
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._accepted += 1
            task = asyncio.create_task(self._serve(client))
            self._connections.add(task)
            task.add_done_callback(partial(self._forget, client))

    def _forget(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        client.close()  # here, for a task may be cancelled before it ran
        self._connections.discard(task)

    async def _serve(self, client: socket.socket) -> None:
        """One connection: ends in good order when both sides have, else by a reset at both."""
        upstream = socket.socket()
        upstream.setblocking(False)
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        ends = (client, upstream)
        try:
            for end in ends:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(upstream, self._upstream)
            await self._carry(client, upstream)
            for end in ends:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FLUSH_ON_CLOSE)
        except* OSError:
            pass  # the other end is told by the reset that closing sends
        finally:
            upstream.close()

    async def _carry(self, client: socket.socket, upstream: socket.socket) -> None:
        async with asyncio.TaskGroup() as tasks:
            for flow, source, target in (
                (self._flows["to_upstream"], client, upstream),
                (self._flows["to_client"], upstream, client),
            ):
                parcels = asyncio.Queue[Parcel](CHUNKS_ON_THE_WAY)
                tasks.create_task(flow.receive(source, parcels))
                tasks.create_task(flow.deliver(target, parcels))
