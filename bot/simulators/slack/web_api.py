"""The Web API: `POST /api/METHOD`, refusals in Slack's order, rate limits, a log of calls."""

import asyncio
import json
import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from bot.simulators.slack.clock import Clock
from bot.simulators.slack.faults import Failure, Faults
from bot.simulators.slack.methods.method import Method, read_arguments
from bot.simulators.slack.model import ApiError
from bot.simulators.slack.workspace import Workspace

TIER_PER_MINUTE = {1: 1, 2: 20, 3: 50, 4: 100}
POSTS_PER_CHANNEL = 10
"""Posts in a channel within 10 s: one a second, with a short burst."""
POSTS_WINDOW_S = 10.0
WINDOW_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """One finished call. `outcome` is `ok` or the error code (`http_503` for a bare status)."""

    method: str
    args: Mapping[str, Any]
    at: datetime
    """When it arrived."""
    outcome: str
    messages: tuple[str, ...] = ()
    """The messages in the answer's `response_metadata`."""


@dataclass(kw_only=True)
class RateLimiter:
    """Slack's documented limits, counted per method over one minute."""

    clock: Clock
    _calls: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def retry_after_s(self, method: str, tier: int | None, channel: str | None) -> int | None:
        """Count the call, or return after how many whole seconds to retry it.

        `tier` None is Slack's "special" tier: only posts are limited, per channel.
        """
        if tier is not None:
            return self._window(method, TIER_PER_MINUTE[tier], WINDOW_S)
        if method == "chat.postMessage":
            return self._window(f"{method} {channel}", POSTS_PER_CHANNEL, POSTS_WINDOW_S)
        return None

    def _window(self, key: str, most: int, window_s: float) -> int | None:
        now_s = self.clock.now_s()
        recent = self._calls[key]
        while recent and recent[0] <= now_s - window_s:
            recent.popleft()
        if len(recent) >= most:
            return max(1, math.ceil(recent[0] + window_s - now_s))
        recent.append(now_s)
        return None


class WebApi:
    """Reads a request, refuses it as Slack would, or passes it to the method's handler."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        methods: Mapping[str, Method],
        scopes: frozenset[str],
        bot_token: str,
        app_token: str,
        faults: Faults,
        limiter: RateLimiter | None,
    ) -> None:
        self._workspace = workspace
        self._methods = methods
        self._scopes = scopes
        self._tokens = {"bot": bot_token, "app": app_token}
        self._faults = faults
        self._limiter = limiter
        self.calls: list[ApiCall] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One Web API request."""
        name = request.match_info["method"]
        arrived = self._workspace.clock.now()
        raw: dict[str, Any] = {}
        try:
            raw = await _read_body(request)
            token = _token(request, raw)
            if (delay_s := self._faults.delay_s(name)) > 0:
                await asyncio.sleep(delay_s)
            for hold in [*self._faults.holds_for(name)]:
                await hold.wait()
            if (failure := self._faults.next_failure(name)) is not None:
                return self._fail(name, raw, arrived, failure)
            method = self._admit(name, token, raw.get("team_id"))
            args = read_arguments(method, raw)
            if self._limiter is not None:
                wait_s = self._limiter.retry_after_s(name, method.tier, args.get("channel"))
                if wait_s is not None:
                    limited = Failure(error="ratelimited", status=429, retry_after_s=wait_s)
                    return self._fail(name, raw, arrived, limited)
            body = method.handler(args)
        except ApiError as error:
            body = error.to_json()
            self._log(name, raw, arrived, error.code, error.messages)
        else:
            self._log(name, raw, arrived, "ok")
        if self._faults.loses_response(name) and request.transport is not None:
            request.transport.abort()
        return web.json_response(body, headers=self._scope_headers(name))

    def _admit(self, name: str, token: str | None, team_id: Any) -> Method:
        method = self._methods.get(name)
        if method is None:
            raise ApiError("unknown_method", req_method=name)
        if token is None:
            raise ApiError("not_authed")
        if token != self._tokens[method.token]:
            raise ApiError(
                "not_allowed_token_type" if token in self._tokens.values() else "invalid_auth"
            )
        if team_id not in {None, self._workspace.team_id}:
            raise ApiError("team_not_found")
        if method.scopes and not self._scopes.intersection(method.scopes):
            raise ApiError(
                "missing_scope",
                needed=",".join(method.scopes),
                provided=",".join(sorted(self._scopes)),
            )
        return method

    def _fail(
        self, name: str, raw: Mapping[str, Any], arrived: datetime, failure: Failure
    ) -> web.Response:
        self._log(name, raw, arrived, failure.error or f"http_{failure.status}")
        headers = {}
        if failure.retry_after_s is not None:
            headers["Retry-After"] = str(failure.retry_after_s)
        if failure.error is None:
            return web.Response(status=failure.status, text="upstream trouble", headers=headers)
        return web.json_response(
            {"ok": False, "error": failure.error}, status=failure.status, headers=headers
        )

    def _scope_headers(self, name: str) -> dict[str, str]:
        method = self._methods.get(name)
        if method is not None and method.token == "app":
            return {"x-oauth-scopes": "connections:write"}
        return {
            "x-oauth-scopes": ",".join(sorted(self._scopes)),
            "x-accepted-oauth-scopes": ",".join(method.scopes if method else ()),
        }

    def _log(
        self,
        name: str,
        raw: Mapping[str, Any],
        arrived: datetime,
        outcome: str,
        messages: tuple[str, ...] = (),
    ) -> None:
        args = {key: value for key, value in raw.items() if key != "token"}
        self.calls.append(
            ApiCall(method=name, args=args, at=arrived, outcome=outcome, messages=messages)
        )
        self._workspace.changes.add("api_call", f"{name} {outcome}")


async def _read_body(request: web.Request) -> dict[str, Any]:
    """Read arguments from the query, a form or a JSON body; Slack takes all three."""
    raw: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read() or b"{}")
        except ValueError:
            raise ApiError("invalid_json") from None
        if not isinstance(body, dict):
            raise ApiError("json_not_object")
        return raw | body
    if request.content_type in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        return raw | dict(await request.post())
    if request.can_read_body and await request.read():
        raise ApiError("invalid_post_type")
    return raw


def _token(request: web.Request, raw: dict[str, Any]) -> str | None:
    in_body = raw.pop("token", None)
    scheme, _, header = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and header:
        return header
    return in_body if isinstance(in_body, str) and in_body else None
