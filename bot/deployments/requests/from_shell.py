"""Requests from a shell: `deploybot deploy`, `retry` and `rollback` leave them in the database.

The bot answers each one as if it had come from Slack: the same rules, the same message. Without a
bot that takes it in time, a request is over and nothing is ever started for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

import structlog

from bot.deployments.model import Actor, Deployment, Trigger
from bot.deployments.requests.service import Request, Service
from bot.errors import BotError

log = structlog.get_logger(__name__)

HOLD = timedelta(seconds=20)
"""How long a bot has a request before another one asks whether the first one died with it."""
OWN_FAULT = (
    "The bot failed while it handled the request; its log says why. `deploybot status` shows "
    "whether a deployment was stored."
)


class ShellRequestKind(StrEnum):
    """What a shell asks for."""

    DEPLOY = "deploy"
    RETRY = "retry"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellRequest:
    """What someone asked for at a shell."""

    id: str
    """ULID."""
    kind: ShellRequestKind
    actor: Actor
    channel: str
    """Where the message is posted, unless the settings name a channel for the app."""
    app: str = ""
    server: str | None = None
    ref: str | None = None
    """Of a rollback: the commit."""
    deployment_id: str = ""
    """Of a retry: the deployment that failed."""

    @property
    def key(self) -> str:
        """The request key of its deployment: however often it is handled, there is one."""
        return f"cli:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellAnswer:
    """What the bot made of it: the deployment, or why there is none."""

    deployment_id: str | None = None
    refusal: str | None = None


class Inbox(Protocol):
    """The requests of shells that are not over. Times are by the database's clock."""

    async def put(self, request: ShellRequest, *, within: timedelta) -> None:
        """Leave a request. Nobody takes it after `within`."""
        ...

    async def waiting(self) -> Sequence[ShellRequest]:
        """Those that no living bot has taken, oldest first."""
        ...

    async def take(self, request_id: str, hold: timedelta) -> bool:
        """Whether it is the caller's now. Once `hold` is over, another one may take it."""
        ...

    async def answer(self, request: ShellRequest, answer: ShellAnswer) -> None:
        """Store the answer; without one, that of the deployment with the request's key."""
        ...

    async def answered(self, request_id: str) -> ShellAnswer | None:
        """The answer; None: there is none yet."""
        ...

    async def withdraw(self, request_id: str) -> bool:
        """Delete it. False: a bot took it, and a deployment may come of it."""
        ...

    async def forget(self, request_id: str) -> None:
        """Delete it, answered or not."""
        ...


async def handle(request: ShellRequest, *, service: Service, inbox: Inbox) -> None:
    """Take a request, do what it asks for, and store the answer."""
    if not await inbox.take(request.id, HOLD):
        return
    try:
        deployment = await _ask(request, service)
    except BotError as error:
        await inbox.answer(request, ShellAnswer(refusal=str(error)))
    except Exception:
        log.exception("shell_request_failed", request_id=request.id)
        await inbox.answer(request, ShellAnswer(refusal=OWN_FAULT))
    else:
        # None: a bot that died with this request had stored its deployment.
        deployment_id = deployment.id if deployment is not None else None
        await inbox.answer(request, ShellAnswer(deployment_id=deployment_id))


async def _ask(request: ShellRequest, service: Service) -> Deployment | None:
    actor, key, channel = request.actor, request.key, request.channel
    match request.kind:
        case ShellRequestKind.DEPLOY:
            ask = Request(
                app=request.app,
                ref=request.ref,
                server=request.server,
                actor=actor,
                trigger=Trigger.CLI,
                request_key=key,
                channel=channel,
            )
            return await service.request(ask)
        case ShellRequestKind.RETRY:
            return await service.retry(
                request.deployment_id,
                actor=actor,
                trigger=Trigger.CLI,
                request_key=key,
                channel=channel,
            )
        case ShellRequestKind.ROLLBACK:
            return await service.rollback_app(
                request.app,
                request.ref,
                server=request.server,
                actor=actor,
                trigger=Trigger.CLI,
                request_key=key,
                channel=channel,
            )
