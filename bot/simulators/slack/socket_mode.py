"""Socket Mode: up to ten connections of an app; each envelope goes to one of them."""

import asyncio
import contextlib
import json
import secrets
import time
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, WSMsgType, web

from bot.simulators.slack.changes import ChangeLog
from bot.simulators.slack.delivery import Ack, Envelope, NoAck, Retry
from bot.simulators.slack.model import Json

MOST_CONNECTIONS = 10
_CLOSE_S = 1.0


@dataclass(kw_only=True)
class _Waiting:
    since_s: float
    answer: asyncio.Future[Ack]


@dataclass(eq=False, kw_only=True)
class _Connection:
    socket: web.WebSocketResponse
    request: web.Request
    last_used: int = 0
    sent: int = 0
    draining: bool = False
    half_dead: bool = False
    """Nothing arrives in either direction, and neither side knows: no pong, no ack."""


@dataclass(kw_only=True)
class SocketHub:
    """Slack's end of the connections."""

    app_id: str
    changes: ChangeLog
    url: str = ""
    unknown_acks: list[str] = field(default_factory=list)
    """Envelope ids that were acknowledged too late, twice, or never existed."""
    _tickets: set[str] = field(default_factory=set)
    _connections: list[_Connection] = field(default_factory=list)
    _all_connections: list[_Connection] = field(default_factory=list)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _turn: int = 0

    @property
    def sent_per_connection(self) -> list[int]:
        """Envelopes sent so far, for each connection there has been."""
        return [connection.sent for connection in self._all_connections]

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def open_connection(self) -> Json:
        """Answer apps.connections.open: an address that works once."""
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return {"ok": True, "url": f"{self.url}?ticket={ticket}&app_id={self.app_id}"}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket connection."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=408, text="expired ticket")
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(timeout=_CLOSE_S)
        await socket.prepare(request)
        if len(self._connections) >= MOST_CONNECTIONS:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        # Slack sends pings too: by the time the app is back, it knows that these are dead.
        for other in [one for one in self._connections if one.half_dead]:
            self._cut(other)
        connection = _Connection(socket=socket, request=request)
        self._connections.append(connection)
        self._all_connections.append(connection)
        try:
            await socket.send_json(self._hello())
            self.changes.add("socket_opened", str(len(self._connections)))
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    self._acknowledge(frame.data)
        finally:
            self._connections.remove(connection)
            self.changes.add("socket_closed", str(len(self._connections)))
        return socket

    async def attempt(
        self, envelope: Envelope, *, retry: Retry | None, timeout_s: float
    ) -> Ack | NoAck:
        """Send to the least recently used connection, and wait for the acknowledgement."""
        frame: Json = {
            "type": envelope.kind,
            "envelope_id": envelope.id,
            "payload": envelope.payload,
            "accepts_response_payload": envelope.kind != "events_api",
        }
        if envelope.kind == "events_api":
            frame["retry_attempt"] = retry.number if retry else 0
            frame["retry_reason"] = retry.reason if retry else ""
        waiting = _Waiting(since_s=time.monotonic(), answer=asyncio.Future())
        self._waiting[envelope.id] = waiting
        try:
            if not await self._send(frame):
                return NoAck(reason="connection_failed")
            async with asyncio.timeout(timeout_s):
                return await waiting.answer
        except TimeoutError:
            return NoAck(reason="timeout")
        finally:
            self._waiting.pop(envelope.id, None)

    async def disconnect_all(self, reason: str) -> None:
        """Ask every connection to go (`warning`, `refresh_requested`, `link_disabled`)."""
        frame = {
            "type": "disconnect",
            "reason": reason,
            "debug_info": {"host": "applink-simulated"},
        }
        for connection in [*self._connections]:
            connection.draining = reason != "warning"
            with contextlib.suppress(ConnectionError):
                await connection.socket.send_json(frame)

    def drop_all(self) -> None:
        """Cut every TCP connection without a WebSocket close."""
        for connection in self._connections:
            self._cut(connection)

    def fall_silent(self) -> None:
        """Let every connection stay open, with nothing passing in either direction."""
        for connection in self._connections:
            connection.half_dead = True
            transport = connection.request.transport
            if isinstance(transport, asyncio.Transport):
                transport.pause_reading()

    def _cut(self, connection: _Connection) -> None:
        if connection.request.transport is not None:
            connection.request.transport.abort()

    async def close(self) -> None:
        """Close all connections."""
        for connection in [*self._connections]:
            await connection.socket.close(code=WSCloseCode.GOING_AWAY)

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self._connections),
            "connection_info": {"app_id": self.app_id},
            "debug_info": {
                "host": "applink-simulated",
                "build_number": 1,
                "approximate_connection_time": 3600,
            },
        }

    async def _send(self, frame: Json) -> bool:
        usable = [c for c in self._connections if not c.draining and not c.socket.closed]
        for connection in sorted(usable, key=lambda c: c.last_used):
            self._turn += 1
            connection.last_used = self._turn
            if connection.half_dead:
                return True  # it went out, and never arrives
            try:
                await connection.socket.send_json(frame)
            except ConnectionError:
                continue
            connection.sent += 1
            return True
        return False

    def _acknowledge(self, data: str) -> None:
        try:
            frame = json.loads(data)
        except ValueError:
            self._unknown(data)
            return
        envelope_id = frame.get("envelope_id", "")
        waiting = self._waiting.get(envelope_id)
        if waiting is None or waiting.answer.done():
            self._unknown(envelope_id)
            return
        waiting.answer.set_result(
            Ack(after_s=time.monotonic() - waiting.since_s, response=frame.get("payload"))
        )

    def _unknown(self, what: str) -> None:
        self.unknown_acks.append(what)
        self.changes.add("unknown_ack", what)
