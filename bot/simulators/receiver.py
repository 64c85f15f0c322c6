"""A webhook receiver: verifies signatures as any receiver would, and keeps the requests.

For tests and the demo's side panel. It listens on the loopback address only, and knows Standard
Webhooks but nothing of the bot.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from bot.simulators.patience import limit_s

PATH = "/hooks/deploys"
REMEMBERED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One received request."""

    at: datetime
    webhook_id: str
    problem: str | None
    """Why its signature was refused; None: the signature is valid."""
    answered: int
    """The HTTP status of the answer."""
    body: Mapping[str, Any]
    """The JSON object; empty if the body was not one."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""

    @property
    def genuine(self) -> bool:
        """Whether it was signed with the shared secret, and recently."""
        return self.problem is None

    @property
    def delivered(self) -> bool:
        """Whether it was genuine and answered with 2xx, so that the sender need not retry."""
        return self.genuine and 200 <= self.answered < 300  # noqa: PLR2004 - HTTP


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How one request is answered."""

    status: int = 204
    location: str | None = None
    """Target of a redirect."""
    after_s: float = 0.0
    """Seconds before the answer."""


class Receiver:
    """Answers 204 to genuine requests and 401 to others, unless a test sets another answer."""

    def __init__(self, *, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._received: deque[Received] = deque(maxlen=REMEMBERED)
        self._next_answers: deque[Behaviour] = deque()
        self._always: Behaviour | None = None
        self.any_time_for_test = False
        """Accept any time stamp: the sender's clock runs faster than this machine's."""
        self._news = asyncio.Condition()
        self.on_received: list[Callable[[], None]] = []
        """Called after each request."""
        self.url = ""
        """Where to send requests; set once the receiver listens."""

    @property
    def received(self) -> Sequence[Received]:
        """All received requests, oldest first."""
        return tuple(self._received)

    @property
    def delivered(self) -> Sequence[Received]:
        """The genuine, accepted requests, oldest first."""
        return tuple(one for one in self._received if one.delivered)

    async def wait_for(self, count: int, *, within_s: float | None = None) -> Sequence[Received]:
        """Wait for `count` requests; return all so far. Raises TimeoutError."""
        async with asyncio.timeout(within_s or limit_s()), self._news:
            await self._news.wait_for(lambda: len(self._received) >= count)
        return self.received

    async def wait_delivered(
        self, count: int, *, within_s: float | None = None
    ) -> Sequence[Received]:
        """Wait for `count` genuine, accepted requests; return all so far. Raises TimeoutError."""
        async with asyncio.timeout(within_s or limit_s()), self._news:
            await self._news.wait_for(lambda: len(self.delivered) >= count)
        return self.delivered

    def answer_for_test(self, *behaviours: Behaviour) -> None:
        """Answer the next requests like this, one each; later ones as usual."""
        self._next_answers.extend(behaviours)

    def always_for_test(self, behaviour: Behaviour | None) -> None:
        """Answer every request like this, after those of `answer_for_test`; None: as usual."""
        self._always = behaviour

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one POST."""
        text = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        problem = self._problem(text, headers)
        usual = Behaviour(status=204 if problem is None else 401)
        behaviour = self._next_answers.popleft() if self._next_answers else self._always or usual
        if behaviour.after_s:
            await asyncio.sleep(behaviour.after_s)
        self._received.append(
            Received(
                at=datetime.now(UTC),
                webhook_id=headers.get("webhook-id", ""),
                problem=problem,
                answered=behaviour.status,
                body=_parsed(text),
                headers=headers,
            )
        )
        async with self._news:
            self._news.notify_all()
        for callback in self.on_received:
            callback()
        answer = web.Response(status=behaviour.status)
        if behaviour.location is not None:
            answer.headers["location"] = behaviour.location
        return answer

    def _problem(self, text: str, headers: dict[str, str]) -> str | None:
        if self.any_time_for_test:
            sent = datetime.fromtimestamp(int(headers.get("webhook-timestamp", "0")), UTC)
            signature = self._webhook.sign(headers.get("webhook-id", ""), sent, text)
            return None if signature == headers.get("webhook-signature") else "a wrong signature"
        try:
            self._webhook.verify(text, headers, json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            return str(error) or type(error).__name__
        return None


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@asynccontextmanager
async def open_receiver(*, secret: str, port: int = 0) -> AsyncIterator[Receiver]:
    """Listen on 127.0.0.1 until the block ends. Port 0: any free port."""
    receiver = Receiver(secret=secret)
    app = web.Application(client_max_size=1_000_000)
    app.router.add_post(PATH, receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
        yield receiver
    finally:
        await runner.cleanup()
