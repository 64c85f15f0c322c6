"""The network in front of the SSH server: it can refuse, swallow, stall, cut and pollute."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

CHUNK_BYTES = 65536
LOOPBACK = "127.0.0.1"


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
        if self.noise:
            writer.write(self.noise)
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self._inner_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, inner_writer))
                group.create_task(self._pump(inner_reader, writer))
        finally:
            inner_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                await self._flows.wait()
                data = await reader.read(CHUNK_BYTES)
                await self._flows.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        with suppress(ConnectionError, OSError):
            if writer.can_write_eof():
                writer.write_eof()
