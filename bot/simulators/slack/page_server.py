"""Serves the page and its live feed, and does what a visitor does on it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from bot.simulators.slack.manifest import AppConfig
from bot.simulators.slack.model import Json, Message, NotPossible, User, View
from bot.simulators.slack.page_state import page_state
from bot.simulators.slack.user_actions import InteractionResult, UserActions
from bot.simulators.slack.workspace import Workspace

# Changes come in bursts; more updates per second than this are not visible.
_FRAME_S = 0.06
_SCRIPTS = (
    *("app", "blocks", "composer", "external", "focus", "icons", "message", "modal", "mrkdwn"),
    *("panel", "side", "sidebar", "troubles"),
)
_STYLES = ("colours", "style", "narrow")
_ASSETS = {
    "": ("index.html", "text/html"),
    **{f"page/{name}.css": (f"{name}.css", "text/css") for name in _STYLES},
    **{f"page/{name}.js": (f"{name}.js", "text/javascript") for name in _SCRIPTS},
}
Action = Callable[[User, Json], Awaitable[InteractionResult | None]]
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src"


class TroublePanel(Protocol):
    """Troubles that a visitor may switch on; they are not the workspace's own."""

    def shown(self) -> list[Json]:
        """Each as `name`, `title`, `text`, `on` and `hint` (a command to try, or empty)."""

    async def switch(self, name: str, *, on: bool) -> None:
        """Switch one on or off. Raises NotPossible, KeyError."""


class PageActions:
    """Reads what the page posted and calls the matching user action."""

    def __init__(self, *, workspace: Workspace, actions: UserActions) -> None:
        self._workspace = workspace
        self._actions = actions
        self.troubles: TroublePanel | None = None
        self._by_name: Mapping[str, Action] = {
            "command": self._command,
            "say": self._say,
            "click": self._click,
            "shortcut": self._shortcut,
            "delete": self._delete,
            "choose": self._choose,
            "submit": self._submit,
            "close": self._close,
            "home": self._home,
            "trouble": self._trouble,
        }

    async def do(self, body: Json) -> InteractionResult | None:
        """Do `body["act"]` as `body["user"]`; None for actions that no app answers.

        Raises NotPossible; KeyError, TypeError, ValueError for a body that the page never sends.
        """
        return await self._by_name[body["act"]](self._workspace.users[body["user"]], body)

    async def _command(self, user: User, body: Json) -> InteractionResult:
        channel = self._workspace.channels[body["channel"]]
        return await self._actions.command(user, channel, body["command"], body["text"])

    async def _say(self, user: User, body: Json) -> None:
        channel = self._workspace.channels[body["channel"]]
        await self._actions.say(user, channel, body["text"], thread_ts=body.get("thread_ts"))

    async def _click(self, user: User, body: Json) -> InteractionResult:
        target = self._view(body) if "view" in body else self._message(user, body)
        return await self._actions.click(
            user,
            target,
            action_id=body["action_id"],
            of=body.get("of"),
            value=body.get("value"),
        )

    async def _shortcut(self, user: User, body: Json) -> InteractionResult:
        message = self._message(user, body)
        return await self._actions.shortcut(user, message, callback_id=body["callback_id"])

    async def _delete(self, user: User, body: Json) -> None:
        await self._actions.delete(user, self._message(user, body))

    async def suggest(self, body: Json) -> list[Json]:
        """What an external list offers for the text typed so far. Raises as `do`."""
        user = self._workspace.users[body["user"]]
        return await self._actions.suggest(user, self._view(body), body["name"], body["typed"])

    async def _choose(self, user: User, body: Json) -> InteractionResult:
        return await self._actions.choose(user, self._view(body), body["name"], body["value"])

    async def _submit(self, user: User, body: Json) -> InteractionResult:
        return await self._actions.submit(user, self._view(body), body["values"])

    async def _close(self, user: User, body: Json) -> None:
        everything = body.get("everything", False)
        await self._actions.close(user, self._view(body), everything=everything)

    async def _home(self, user: User, _body: Json) -> None:
        await self._actions.open_home(user)

    async def _trouble(self, _user: User, body: Json) -> None:
        if self.troubles is None:
            raise NotPossible("This workspace offers no troubles.")
        await self.troubles.switch(body["name"], on=bool(body["on"]))

    def _view(self, body: Json) -> View:
        view = self._workspace.view(body["view"])
        if view is None:
            raise NotPossible("That view is no longer open.")
        return view

    def _message(self, user: User, body: Json) -> Message:
        found = self._workspace.message(body["channel"], body["ts"])
        if found is not None:
            return found
        for message in self._workspace.ephemerals:
            if message.ts == body["ts"] and message.ephemeral_for == user.id:
                return message
        raise NotPossible("That message no longer exists.")


class Page:
    """The routes of the web page."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        app: AppConfig,
        actions: UserActions,
        origin: str,
        hints: Sequence[str],
        side_panel: Callable[[], list[dict[str, Any]]] | None,
    ) -> None:
        self._workspace = workspace
        self._app = app
        self._actions = actions
        self._page_actions = PageActions(workspace=workspace, actions=actions)
        self._origin = origin.rstrip("/")
        self._hints = list(hints)
        self._side_panel = side_panel
        self._sockets: set[web.WebSocketResponse] = set()
        self._pushers: set[asyncio.Task[None]] = set()

    def offer_troubles(self, troubles: TroublePanel) -> None:
        """Show these troubles from now on."""
        self._page_actions.troubles = troubles

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the page, its files, its feed and its actions."""
        for path in _ASSETS:
            router.add_get(f"/{path}", self._asset)
        router.add_get("/archives/{channel}/{ts}", self._asset)
        router.add_get("/page/feed", self._feed)
        router.add_post("/page/act", self._act)

    def close(self) -> None:
        """Stop all feeds."""
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
        self._check_origin(request)
        # aiohttp compresses in a separate task; when a visitor leaves, its error stays unhandled.
        socket = web.WebSocketResponse(heartbeat=20, compress=False)
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
        changes = self._workspace.changes
        while not socket.closed:
            seen = len(changes.entries)
            try:
                await socket.send_json(self._state())
            except ConnectionResetError:
                return  # the visitor has just left the page
            await asyncio.sleep(_FRAME_S)
            await changes.wait_beyond(seen)

    def _state(self) -> Json:
        state = page_state(self._workspace, self._app, self._actions.notices)
        state["hints"] = self._hints
        troubles = self._page_actions.troubles
        state["troubles"] = None if troubles is None else troubles.shown()
        state["panel"] = None if self._side_panel is None else self._side_panel()
        return state

    async def _act(self, request: web.Request) -> web.Response:
        self._check_origin(request)
        try:
            body = await request.json()
            if body["act"] == "suggest":
                options = await self._page_actions.suggest(body)
                return web.json_response({"ok": True, "options": options})
            result = await self._page_actions.do(body)
        except NotPossible as refusal:
            return web.json_response({"ok": False, "error": str(refusal)})
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"ok": False, "error": f"bad request: {error!r}"}, status=400)
        if result is None:
            return web.json_response({"ok": True})
        return web.json_response({"ok": result.acked or not result.sent, "sent": result.sent})

    def _check_origin(self, request: web.Request) -> None:
        # Another site in the same browser can reach loopback; it cannot forge its origin.
        allowed = {self._origin, self._origin.replace("127.0.0.1", "localhost")}
        if request.headers.get("Origin", self._origin) not in allowed or (
            f"http://{request.host}" not in allowed
        ):
            raise web.HTTPForbidden(text="only this workspace's page may do that")
