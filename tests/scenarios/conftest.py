"""The whole bot between both simulators, on settings like those of `deploybot demo`."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.bootstrap import Bot, Parties, open_bot
from bot.config import load_settings
from bot.metrics import Metrics
from bot.redaction import Redactor
from bot.simulators.dokku.app import App
from bot.simulators.slack.model import Message
from bot.simulators.stage import DemoApp, Stage, open_stage
from bot.slack.manifest import manifest

FAST = {
    "DEPLOYBOT_POLL_INTERVAL": "0.5",
    "DEPLOYBOT_SETTLE": "0.3",
    "DEPLOYBOT_DRAIN_TIMEOUT": "1s",
}
SPEED = 100.0
ONE_APP = (
    DemoApp(
        name="myapp",
        behaviour="ok",
        hint="",
        commits=("Start the app", "Greet people", "Fix the login redirect"),
    ),
)


@dataclass(kw_only=True)
class World:
    """One workspace, one server, and a bot that can be started and stopped."""

    stage: Stage
    folder: Path
    environ: dict[str, str]
    bot: Bot | None = None
    _stack: AsyncExitStack = dataclasses.field(default_factory=AsyncExitStack)

    async def start_bot(self, timing: Mapping[str, Any] | None = None, **more: str) -> Bot:
        settings = load_settings(environ=self.environ | more, folder=self.folder)
        self._stack = AsyncExitStack()
        self.bot = await self._stack.enter_async_context(
            open_bot(
                settings,
                metrics=Metrics(),
                redactor=Redactor(settings.secrets()),
                parties=Parties(),
                timing=dataclasses.replace(settings.timing(), **(timing or {})),
            )
        )
        return self.bot

    async def stop_bot(self) -> None:
        await self._stack.aclose()
        self.bot = None

    @property
    def app(self) -> App:
        return self.stage.dokku.apps["myapp"]

    def now_behaves(self, behaviour: str) -> None:
        self.app.behaviour = behaviour

    async def deploy(self, text: str = "myapp main", user: str = "ada") -> Any:
        slack = self.stage.slack
        return await slack.command(slack.user(user), slack.channel("deploys"), "/deploy", text)

    @property
    def message(self) -> Message:
        """The newest message of the bot in the channel."""
        return self.messages[-1]

    @property
    def messages(self) -> list[Message]:
        slack = self.stage.slack
        return [one for one in slack.messages(slack.channel("deploys")) if one.bot_id]

    async def until_message(self, *words: str, timeout_s: float = 20.0) -> Message:
        """Wait until the newest live message says all the words."""

        def says() -> Message | None:
            found = self.messages
            if found and all(word in shown(found[-1]) for word in words):
                return found[-1]
            return None

        message = await self.stage.slack.until(says, timeout_s=timeout_s)
        assert message is not None
        return message

    async def rows(self) -> list[Any]:
        assert self.bot is not None
        return list(await self.bot.service.history("myapp", limit=50))


def shown(message: Message) -> str:
    """All text of a message, as a person reads it."""
    return "\n".join(_texts([message.text, message.blocks]))


def _texts(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    if isinstance(part, Mapping):
        return [
            text
            for key, value in part.items()
            if key not in {"type", "action_id", "block_id", "value", "style"}
            for text in _texts(value)
        ]
    if isinstance(part, list | tuple):
        return [text for one in part for text in _texts(one)]
    return []


WorldFactory = Callable[..., Awaitable[World]]


@asynccontextmanager
async def open_world(folder: Path, **options: Any) -> AsyncIterator[World]:
    options.setdefault("apps", ONE_APP)
    options.setdefault("speed", SPEED)
    async with open_stage(manifest=manifest(), folder=folder, **options) as stage:
        world = World(stage=stage, folder=folder, environ={**stage.settings, **FAST})
        try:
            yield world
        finally:
            await world.stop_bot()
        assert stage.dokku.complaints == []


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A bot that runs, with `myapp` live at an older commit."""
    async with open_world(tmp_path) as opened:
        await opened.start_bot()
        yield opened
