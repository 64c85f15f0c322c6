"""The intake between a simulated Slack and a service that only records its requests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from aiohttp import web

from bot.clock import SystemClock
from bot.names import COMMAND
from bot.simulators.slack.clock import Timings
from bot.simulators.slack.model import Channel, Message, User, View
from bot.simulators.slack.simulator import Mode, SlackSimulator, open_slack
from bot.slack.bolt import Intake, open_intake
from bot.slack.client import SlackClient, open_client
from bot.slack.limits import SlackLimits
from bot.slack.manifest import manifest
from tests.support.fake_service import FakeService

QUICK = Timings(event_retries_s=(0.02, 0.02, 0.02), disconnect_warning_s=0.05)


@dataclass(kw_only=True)
class Stage:
    """The intake with its simulated Slack, and shortcuts for tests."""

    slack: SlackSimulator
    client: SlackClient
    service: FakeService
    intake: Intake
    url: str = ""
    """HTTP mode: where Slack posts to."""
    acks: list[float] = field(default_factory=list)
    command: str = COMMAND
    """The name that the Slack app gives the slash command."""

    @property
    def ada(self) -> User:
        return self.slack.user("ada")

    @property
    def deploys(self) -> Channel:
        return self.slack.channel("deploys")

    async def deploy(self, text: str, channel: Channel | None = None) -> None:
        """Type `/deploy …` as ada."""
        await self.slack.command(self.ada, channel or self.deploys, self.command, text)

    async def live_message(self) -> Message:
        """The newest message of the channel, once there is one."""
        return (await self.slack.until(lambda: self.slack.messages(self.deploys)))[-1]

    async def whisper(self, count: int = 1) -> str:
        """The newest ephemeral message to ada, once there are `count`."""

        def received() -> list[Message]:
            found = self.slack.ephemerals(self.ada)
            return found if len(found) >= count else []

        return (await self.slack.until(received))[-1].text

    async def view(self, shows: str) -> View:
        """Ada's modal, once it shows this text."""

        def shown() -> View | None:
            view = self.slack.view(self.ada)
            return view if view and shows in str(view.payload) else None

        found = await self.slack.until(shown)
        assert found is not None
        return found

    async def replies(self, message: Message, count: int = 1) -> list[str]:
        """The bot's texts in a thread, once there are `count`."""

        def said() -> list[Message]:
            found = [one for one in self.slack.thread(message) if one.bot_id]
            return found if len(found) >= count else []

        return [one.text for one in await self.slack.until(said)]


@asynccontextmanager
async def open_stage(
    mode: Mode = "socket",
    timings: Timings = QUICK,
    limits: SlackLimits | None = None,
    command: str = COMMAND,
) -> AsyncIterator[Stage]:
    """Open everything, connected."""
    url = "https://deploybot.example.com" if mode == "http" else None
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(
            open_slack(manifest=manifest(mode, url, command), mode=mode, timings=timings)
        )
        client = await stack.enter_async_context(
            open_client(slack.bot_token, base_url=slack.api_url)
        )
        service = FakeService(client)
        acks: list[float] = []
        intake = await stack.enter_async_context(
            open_intake(
                client=client,
                service=service,
                clock=SystemClock(),
                app_token=slack.app_token if mode == "socket" else None,
                signing_secret=slack.signing_secret if mode == "http" else None,
                observe_ack=acks.append,
                drain=timedelta(seconds=5),
                limits=limits,
            )
        )
        stage = Stage(
            slack=slack,
            client=client,
            service=service,
            intake=intake,
            acks=acks,
            command=command,
        )
        if mode == "http":
            stage.url = await stack.enter_async_context(_serve(intake))
            await slack.set_request_url(stage.url)
        yield stage


@asynccontextmanager
async def _serve(intake: Intake) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/slack/events", intake.handle_http)
    dispatcher = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await dispatcher.setup()
    try:
        site = web.TCPSite(dispatcher, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{dispatcher.addresses[0][1]}/slack/events"
    finally:
        await dispatcher.cleanup()
