"""The network in front of the SSH server: it can refuse, swallow, stall, cut and pollute."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

CHUNK_BYTES = 65536
LOOPBACK = "127.0.0.1"


@dataclass(eq=False, kw_only=True)
class _Pair:
    """The two sides of a link that is served."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    torn: bool = False
    """One side is gone, and the other one is not to hear of it."""


class Wire:
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
        self._links: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.swallows = False
        """New connections are accepted and never answered."""
        self.noise = b""
        """Bytes that a new client gets before the SSH version line."""
        self.farewell: bytes | None = None
        """What a new client gets in place of a login: these bytes, and the end."""
        self.turned_away = 0
        """How many clients got it."""
        self.delay_s = 0.0
        """Real seconds before a new connection is served."""
        self._pairs: list[_Pair] = []

    @property
    def connections(self) -> int:
        """Count the connections that are open now."""
        return len(self._links)

    async def listen(self, port: int) -> None:
        """Begin to accept, on this port or on any free one (0)."""
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
        """Let everything pass again, with what has piled up."""
        self._flows.set()

    async def drop(self) -> None:
        """Cut all connections at once, with a reset."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def forget_server(self) -> None:
        """Cut the server's side only, as if it was switched off: clients hear nothing of it."""
        for pair in self._pairs:
            self._forget_server_of(pair)

    def forget_server_of_oldest(self) -> None:
        """The same for one connection: the one that was opened first."""
        self._forget_server_of(self._pairs[0])

    def _forget_server_of(self, pair: _Pair) -> None:
        pair.torn = True
        pair.server.transport.abort()

    def forget_clients(self) -> None:
        """Cut the clients' side only, with a reset: the server hears nothing of it."""
        for pair in self._pairs:
            pair.torn = True
            pair.client.transport.abort()

    def drop_oldest(self) -> None:
        """Cut one connection, on both sides: the one that was opened first."""
        self._cut(self._pairs[0])

    def drop_newest(self) -> None:
        """Cut one connection, on both sides: the one that was opened last."""
        self._cut(self._pairs[-1])

    def _cut(self, pair: _Pair) -> None:
        pair.client.transport.abort()
        pair.server.transport.abort()

    async def aclose(self) -> None:
        """Refuse and drop."""
        await self.refuse()
        await self.drop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._links.add(task)
        self._changed()
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            # start_server logs a cancelled handler as an error; a dropped link is none.
            task.uncancel()
        finally:
            writer.transport.abort()
            self._links.discard(task)
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
            # Of a torn link the side that is left is read on, for nobody.
            if not writer.is_closing():
                with suppress(ConnectionError):
                    writer.write(data)
                    await writer.drain()
        with suppress(ConnectionError, OSError):
            if not pair.torn and writer.can_write_eof():
                writer.write_eof()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """The next bytes; nothing at the end, and nothing of either while all stands still."""
        await self._flows.wait()
        data = b""
        with suppress(ConnectionError):
            data = await reader.read(CHUNK_BYTES)
        await self._flows.wait()
        return data
