"""Serves the page and its live feed, and lets it act as one of the people."""

import asyncio
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from aiohttp import WSMsgType, web

from bot.simulators.slack.errors import NotPossible
from bot.simulators.slack.manifest import AppConfig
from bot.simulators.slack.model import Json
from bot.simulators.slack.page_acts import PageActs
from bot.simulators.slack.page_state import page_state
from bot.simulators.slack.people import People
from bot.simulators.slack.workspace import Workspace

# Changes come in bursts; the eye does not need more than this many pictures a second.
_FRAME_S = 0.06
_SCRIPTS = ("app", "blocks", "composer", "icons", "message", "modal", "mrkdwn", "panel")
_ASSETS = {
    "": ("index.html", "text/html"),
    "page/style.css": ("style.css", "text/css"),
    **{f"page/{name}.js": (f"{name}.js", "text/javascript") for name in _SCRIPTS},
}
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src"


class Page:
    """The routes of the web page."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        app: AppConfig,
        people: People,
        origin: str,
        hints: Sequence[str],
        side_panel: Callable[[], list[dict[str, Any]]] | None,
    ) -> None:
        self._workspace = workspace
        self._app = app
        self._people = people
        self._acts = PageActs(workspace=workspace, people=people)
        self._origin = origin.rstrip("/")
        self._hints = list(hints)
        self._side_panel = side_panel
        self._sockets: set[web.WebSocketResponse] = set()
        self._pushers: set[asyncio.Task[None]] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the page, its parts, its feed and its acts."""
        for path in _ASSETS:
            router.add_get(f"/{path}", self._asset)
        router.add_get("/archives/{channel}/{ts}", self._asset)
        router.add_get("/page/feed", self._feed)
        router.add_post("/page/act", self._act)

    def close(self) -> None:
        """Stop feeding."""
        for pusher in self._pushers:
            pusher.cancel()

    async def _asset(self, request: web.Request) -> web.Response:
        name, content_type = _ASSETS.get(request.path.lstrip("/"), _ASSETS[""])
        body = files("bot.simulators.slack").joinpath("page", name).read_bytes()
        headers = {
            # Not every browser counts ws: as 'self'.
            "Content-Security-Policy": f"{_POLICY} 'self' ws://{request.host}",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        self._must_be_our_page(request)
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        pusher = asyncio.create_task(self._push(socket))
        self._pushers.add(pusher)
        try:
            async for frame in socket:
                if frame.type is WSMsgType.ERROR:
                    break
        finally:
            pusher.cancel()
            self._pushers.discard(pusher)
        return socket

    async def _push(self, socket: web.WebSocketResponse) -> None:
        feed = self._workspace.feed
        while not socket.closed:
            seen = len(feed.changes)
            await socket.send_json(self._state())
            await asyncio.sleep(_FRAME_S)
            await feed.wait_beyond(seen)

    def _state(self) -> Json:
        state = page_state(self._workspace, self._app, self._people.notices)
        state["hints"] = self._hints
        state["panel"] = None if self._side_panel is None else self._side_panel()
        return state

    async def _act(self, request: web.Request) -> web.Response:
        self._must_be_our_page(request)
        try:
            body = await request.json()
            result = await self._acts.do(body)
        except NotPossible as refusal:
            return web.json_response({"ok": False, "error": str(refusal)})
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"ok": False, "error": f"bad request: {error!r}"}, status=400)
        if result is None:
            return web.json_response({"ok": True})
        return web.json_response({"ok": result.acked or not result.sent, "sent": result.sent})

    def _must_be_our_page(self, request: web.Request) -> None:
        # Another site in the same browser can reach loopback; it cannot forge its origin.
        allowed = {self._origin, self._origin.replace("127.0.0.1", "localhost")}
        if request.headers.get("Origin", self._origin) not in allowed or (
            f"http://{request.host}" not in allowed
        ):
            raise web.HTTPForbidden(text="only the page of this workspace may do that")
