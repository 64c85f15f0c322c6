"""The whole bot between both simulators, with settings like those of `deploybot demo`."""

import asyncio
import dataclasses
import functools
import gc
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from bot.bootstrap import Bot, open_bot
from bot.clock import Clock
from bot.config.loading import load_settings
from bot.deployments.ports import DeployStream
from bot.deployments.states import RUNNING
from bot.deployments.timing import LockTiming
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.git import GitRefs
from bot.metrics import Metrics
from bot.names import COMMAND
from bot.readiness import Readiness
from bot.redaction import Redactor
from bot.simulators.dokku.app import App
from bot.simulators.environment import DemoApp, Simulators, open_simulators
from bot.simulators.slack.model import Channel, Message, User, View
from bot.simulators.slack.simulator import SlackSimulator
from bot.simulators.slack.user_actions import InteractionResult
from bot.slack.limits import EditLimits, SlackLimits
from bot.slack.manifest import manifest
from bot.slack.render.words import PHASES
from bot.store import schema
from tests.support.compiled_once import statements_are_compiled_once
from tests.support.quick_clock import QuickClock
from tests.support.remembered_git import RememberedGit
from tests.support.webhook_schema import schema_errors

__all__ = ["QuickClock", "statements_are_compiled_once"]
FAST = {
    "DEPLOYBOT_POLL_INTERVAL": "0.5",
    "DEPLOYBOT_SETTLE": "0.15",
    "DEPLOYBOT_DRAIN_TIMEOUT": "1s",
}
QUICK_EDITS = SlackLimits(
    edits=EditLimits(
        spacing_s=0.05,
        refresh_s=2.0,
        routine_spacing_s=0.05,
        per_minute=10_000,
        refreshes_per_minute=9_000,
    )
)
"""The bot shows a new phase at once, and a longer log or duration every 2 s."""
FREQUENT_EDITS = SlackLimits(
    edits=EditLimits(
        spacing_s=0.1,
        refresh_s=0.3,
        routine_spacing_s=0.02,
        per_minute=10_000,
        refreshes_per_minute=9_000,
    )
)
HURRIED_SSH = SshLimits(cool_down_s=0.05, longest_cool_down_s=0.3, channel_tries=3)
"""Short pauses between logins."""
QUICK_PAUSES: Mapping[str, Any] = {
    "first_poll": timedelta(milliseconds=200),
    "read_pause": timedelta(milliseconds=200),
    "look_again": timedelta(milliseconds=200),
    "lock": LockTiming(pause=timedelta(milliseconds=100), stays_free=timedelta(milliseconds=500)),
}
"""Pauses between two looks at a server that runs a hundred times as fast."""
PHASE_WORDS = frozenset(PHASES[phase] for phase in RUNNING)
SPEED = 250.0
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

    simulators: Simulators
    folder: Path
    environ: dict[str, str]
    bot: Bot | None = None
    slack_limits: SlackLimits | None = QUICK_EDITS
    ssh_limits: SshLimits | None = None
    """Used by bots that are started after it is set."""
    command: str = COMMAND
    """The name of the slash command, in the Slack app and in the settings."""
    clock: Clock | None = None
    """The one that the bot was started with, if it is not the machine's."""
    _stack: AsyncExitStack = dataclasses.field(default_factory=AsyncExitStack)

    def _git(self) -> Callable[..., GitRefs]:
        return partial(RememberedGit, self.simulators.forge)

    async def start_bot(
        self,
        timing: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        **more: str,
    ) -> Bot:
        settings = load_settings(environ=self.environ | more, folder=self.folder)
        self.clock = clock
        # An owner that has not renewed its lease for 15 s by its clock does nothing more.
        beat = 10 / clock.speed if isinstance(clock, QuickClock) else 5
        pauses = {**QUICK_PAUSES, "heartbeat": timedelta(seconds=beat), **(timing or {})}
        self._stack = AsyncExitStack()
        self.bot = await self._stack.enter_async_context(
            open_bot(
                settings,
                metrics=Metrics(),
                redactor=Redactor(settings.secrets()),
                readiness=Readiness(),
                clock=clock,
                timing=dataclasses.replace(settings.timing(), **pauses),
                slack_limits=self.slack_limits,
                ssh_limits=self.ssh_limits,
                git=self._git(),
            )
        )
        return self.bot

    def second_server(self, name: str) -> None:
        """Add a second server entry for the same host. Call it before the bot is started."""
        default = self.simulators.settings
        (self.folder / "deploybot.toml").write_text(
            f"[servers.{name}]\n"
            f'host = "{default["DOKKU_HOST"]}"\n'
            f"port = {default['DOKKU_PORT']}\n"
            f'user = "{default["DOKKU_USER"]}"\n'
            f'ssh_key = """{default["DOKKU_SSH_KEY"]}"""\n'
            f'known_hosts = """{default["DOKKU_KNOWN_HOSTS"]}"""\n'
        )

    async def stop_bot(self) -> None:
        await self._stack.aclose()
        self.bot = None

    @property
    def app(self) -> App:
        return self.simulators.dokku.apps["myapp"]

    def now_behaves(self, behaviour: str) -> None:
        self.app.behaviour = behaviour

    async def deploy(self, text: str = "myapp main", user: str = "ada") -> Any:
        slack = self.simulators.slack
        channel = slack.channel("deploys")
        return await slack.command(slack.user(user), channel, self.command, text)

    @property
    def message(self) -> Message:
        """The newest message of the bot in the channel."""
        return self.messages[-1]

    @property
    def messages(self) -> list[Message]:
        slack = self.simulators.slack
        return [one for one in slack.messages(slack.channel("deploys")) if one.bot_id]

    async def until_message(self, *words: str) -> Message:
        """Wait until the newest live message contains all the words."""

        def says() -> Message | None:
            found = self.messages
            return found[-1] if found and says_all(shown(found[-1]), words) else None

        message = await self.simulators.slack.until(says)
        assert message is not None
        return message

    async def rows(self, app: str = "myapp") -> list[Any]:
        """Newest first."""
        assert self.bot is not None
        return list(await self.bot.service.queries.history(app, limit=50))

    # --- what people do and see in Slack

    @property
    def slack(self) -> SlackSimulator:
        return self.simulators.slack

    @property
    def ada(self) -> User:
        return self.slack.user("ada")

    @property
    def deploys(self) -> Channel:
        return self.slack.channel("deploys")

    async def click(
        self, action_id: str, target: Message | View | None = None, *, user: str = "ada"
    ) -> InteractionResult:
        """Press a button of the newest message, or of another message or view, and confirm."""
        person = self.slack.user(user)
        return await self.slack.click(person, target or self.message, action_id=action_id)

    async def posted(self, count: int) -> list[Message]:
        """Wait until the bot has at least `count` messages in the channel; oldest first."""

        def there() -> list[Message]:
            return self.messages if len(self.messages) >= count else []

        return await self.slack.until(there)

    async def looked_up(self, count: int) -> list[Message]:
        """As `posted`, and each says its commit: a busy machine may post before it is known."""

        def there() -> list[Message]:
            found = self.messages
            late = any("looking up" in shown(one) for one in found)
            return found if len(found) >= count and not late else []

        return await self.slack.until(there)

    async def whispered(self, *words: str, user: str = "ada") -> str:
        """Wait until a person got an ephemeral message with all the words; the newest text."""
        person = self.slack.user(user)

        def found() -> list[str]:
            texts = [shown(one) for one in self.slack.ephemerals(person)]
            return [text for text in texts if all(word in text for word in words)]

        return (await self.slack.until(found))[-1]

    async def replied(self, *words: str, message: Message | None = None) -> Message:
        """Wait until the bot replied in a thread with all the words; the newest such reply."""
        root = message or self.message

        def said() -> list[Message]:
            replies = [one for one in self.slack.thread(root) if one.bot_id]
            return [one for one in replies if all(word in shown(one) for word in words)]

        return (await self.slack.until(said))[-1]

    async def viewed(self, *words: str, user: str = "ada") -> View:
        """Wait until a user's modal shows all the words."""
        person = self.slack.user(user)

        def seen() -> View | None:
            view = self.slack.view(person)
            return view if view and all(word in view.plain for word in words) else None

        view = await self.slack.until(seen)
        assert view is not None
        return view

    async def ended(self, count: int = 1, app: str = "myapp") -> list[Any]:
        """Wait until `count` webhooks were delivered; the rows, newest first."""
        await self.simulators.receiver.wait_delivered(count)
        return await self.rows(app)

    # --- what happens on the server

    def hold(self, at: str = "build step 4/", app: str = "myapp") -> None:
        """Hold the next deploy after this line."""
        self.simulators.dokku.hold_for_test(app, at=at)

    async def held(self, app: str = "myapp") -> None:
        """Wait until the deploy is held."""
        await self.simulators.dokku.until(lambda: self.simulators.dokku.holding(app))

    async def deploy_until(self, line: str) -> None:
        """Deploy `myapp`, and wait until Dokku's command is held after this line."""
        self.hold(line)
        await self.deploy()
        await self.held()

    def runs(self, app: str = "myapp") -> bool:
        """Whether a command that changes the app is running."""
        return bool(self.simulators.dokku.apps[app].runs)

    def let_go(self, app: str = "myapp") -> None:
        self.simulators.dokku.release_for_test(app)


def shown(message: Message) -> str:
    """All text of a message, as a person reads it."""
    return "\n".join(_texts([message.text, message.blocks]))


def says_all(text: str, words: Sequence[str]) -> bool:
    """Whether a message's text has all the words; that of a phase as the status.

    Dokku's own lines say "Building", too, and may be ahead of the phase that is stored.
    """
    return all((f"*Status*\n{one}" if one in PHASE_WORDS else one) in text for one in words)


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


@functools.cache
def _new_database() -> bytes:
    """A database with all tables and no rows: migrating one for each bot would take longer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.db"
        engine = create_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            schema.migrate(connection)
        engine.dispose()
        return file.read_bytes()


@asynccontextmanager
async def open_world(folder: Path, **options: Any) -> AsyncIterator[World]:
    slack_limits = options.pop("slack_limits", QUICK_EDITS)
    command = options.pop("command", COMMAND)
    options.setdefault("apps", ONE_APP)
    options.setdefault("speed", SPEED)
    (folder / "deploybot.db").write_bytes(_new_database())
    app = manifest(command=command)
    async with open_simulators(manifest=app, folder=folder, **options) as simulators:
        world = World(
            simulators=simulators,
            folder=folder,
            environ={**simulators.settings, **FAST, "DEPLOYBOT_COMMAND": command},
            slack_limits=slack_limits,
            command=command,
        )
        with _unhandled_errors() as errors:
            try:
                yield world
            finally:
                await world.stop_bot()
        assert errors == []
        assert simulators.dokku.complaints == []
        for one in simulators.receiver.received:
            if one.genuine and str(one.body.get("type")).startswith("deployment."):
                assert schema_errors(one.body) == []
    _keep_what_was_loaded()


@functools.cache
def _keep_what_was_loaded() -> None:
    """Keep what the first world of the process loaded out of every later `gc.collect()`.

    Each world ends with one, which would go through all of it again.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def _unhandled_errors() -> Iterator[list[str]]:
    """Collect errors of tasks and callbacks that nobody handled."""
    errors: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _loop, context: errors.append(f"{context['message']} {context.get('exception')!r}")
    )
    try:
        yield errors
        gc.collect()
    finally:
        loop.set_exception_handler(None)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A running bot, with `myapp` live at an older commit."""
    async with open_world(tmp_path) as opened:
        await opened.start_bot()
        yield opened


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[World]:
    """The same with a fast clock: 2 s between edits take 0.2 s."""
    async with open_world(tmp_path) as opened:
        await opened.start_bot(clock=QuickClock())
        yield opened


@pytest.fixture
def patient_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bot asks git itself; on a busy machine that takes longer than the bot gives it."""
    monkeypatch.setattr(World, "_git", lambda _world: partial(GitRefs, timeout_s=600))


class StartGate(asyncio.Event):
    """Holds deploy commands. `reached`: one was sent and cannot be called back."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()


@pytest.fixture
def dokku_may_start(monkeypatch: pytest.MonkeyPatch) -> StartGate:
    """No deploy command is sent before this is set: until then deployments are `starting`."""
    may = StartGate()
    deploy = Driver.deploy

    async def deploy_later(
        driver: Driver, app: str, repo: str, pinned: str, **more: Any
    ) -> DeployStream:
        may.reached.set()
        await may.wait()
        return await deploy(driver, app, repo, pinned, **more)

    monkeypatch.setattr(Driver, "deploy", deploy_later)
    return may


async def print_line(world: World, line: str) -> None:
    """Let the running build print something that no recording has."""
    (run,) = world.app.runs
    await run.write("out", line.encode())


async def until_stored(world: World, words: str) -> None:
    """Wait until a line of the build that runs is in the store: messages are a second ahead."""
    assert world.bot is not None
    (row,) = [row for row in await world.rows() if row.phase in RUNNING]
    number = 0
    while words not in await world.bot.service.queries.store.logs.read(row.id):
        number += 1
        await print_line(world, f"#8 4.5 and one more, {number}\n")
        await world.until_message(f"and one more, {number}")
