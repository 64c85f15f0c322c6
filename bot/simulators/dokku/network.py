"""The network in front of the SSH server: it can refuse, swallow, stall, cut and pollute."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

CHUNK_BYTES = 65536
LOOPBACK = "127.0.0.1"


@dataclass(eq=False, kw_only=True)
class _Pair:
    """The two sides of a served connection."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    torn: bool = False
    """One side is gone, and the other side must not notice."""


class Network:
    """A TCP relay on the loopback address, with the faults of a real network.

    Args:
        inner_port: where the SSH server itself listens.
        changed: called whenever a connection comes or goes.
    """

    def __init__(self, *, inner_port: int, changed: Callable[[], None]) -> None:
        self.port = 0
        self._inner_port = inner_port
        self._changed = changed
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.swallows = False
        """Accept new connections and never answer."""
        self.noise = b""
        """Bytes sent to a new client before the SSH version string."""
        self.farewell: bytes | None = None
        """Send these bytes to a new client instead of serving it, and close."""
        self.turned_away = 0
        """Number of clients that received the farewell."""
        self.delay_s = 0.0
        """Real seconds before a new connection is served."""
        self._pairs: list[_Pair] = []

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def listen(self, port: int) -> None:
        """Start to accept connections. Port 0: any free port."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Stop accepting: the kernel answers new connections with a reset."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept_again(self) -> None:
        """Accept again, on the same port."""
        if self._server is None:
            await self.listen(self.port)

    def stall(self) -> None:
        """Let nothing pass in either direction, not even the end of a connection."""
        self._flows.clear()

    def heal(self) -> None:
        """Let everything pass again, including what was held back."""
        self._flows.set()

    async def drop(self) -> None:
        """Cut all connections at once, with a reset."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def forget_server(self) -> None:
        """Cut only the server's side, as if it was switched off; clients do not notice."""
        for pair in self._pairs:
            self._forget_server_of(pair)

    def forget_server_of_oldest(self) -> None:
        """Cut only the server's side of the oldest connection."""
        self._forget_server_of(self._pairs[0])

    def _forget_server_of(self, pair: _Pair) -> None:
        pair.torn = True
        pair.server.transport.abort()

    def forget_clients(self) -> None:
        """Cut only the clients' side, with a reset; the server does not notice."""
        for pair in self._pairs:
            pair.torn = True
            pair.client.transport.abort()

    def drop_oldest(self) -> None:
        """Cut the oldest connection on both sides."""
        self._cut(self._pairs[0])

    def drop_newest(self) -> None:
        """Cut the newest connection on both sides."""
        self._cut(self._pairs[-1])

    def _cut(self, pair: _Pair) -> None:
        pair.client.transport.abort()
        pair.server.transport.abort()

    async def aclose(self) -> None:
        """Refuse new connections and drop the open ones."""
        await self.refuse()
        await self.drop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._connections.add(task)
        self._changed()
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            # start_server logs a cancelled handler as an error; a dropped connection is not one.
            task.uncancel()
        finally:
            writer.transport.abort()
            self._connections.discard(task)
            self._changed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.swallows:
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay_s)
        if self.noise:
            writer.write(self.noise)
        if self.farewell is not None:
            self.turned_away += 1
            self._changed()
            writer.write(self.farewell)
            await writer.drain()
            return
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self._inner_port)
        pair = _Pair(client=writer, server=inner_writer)
        self._pairs.append(pair)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(pair, reader, inner_writer))
                group.create_task(self._pump(pair, inner_reader, writer))
        finally:
            self._pairs.remove(pair)
            inner_writer.transport.abort()

    async def _pump(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await self._next(reader):
            # The remaining side of a torn connection is still read; the data is dropped.
            if not writer.is_closing():
                with suppress(ConnectionError):
                    writer.write(data)
                    await writer.drain()
        with suppress(ConnectionError, OSError):
            if not pair.torn and writer.can_write_eof():
                writer.write_eof()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """The next bytes, empty at the end; waits while the network is stalled."""
        await self._flows.wait()
        data = b""
        with suppress(ConnectionError):
            data = await reader.read(CHUNK_BYTES)
        await self._flows.wait()
        return data
