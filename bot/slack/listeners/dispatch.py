"""Which handler hears which of Slack's requests, and the one way in: ack, then a tracked task.

Bolt takes an ack back when its listener raises within some 10 ms of it, and answers 404 three
seconds later. So a listener does nothing but acknowledge and start a task.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.aio import Tasks
from bot.errors import BotError, SlackError
from bot.slack.client import Identity
from bot.slack.listeners import commands, modals, shortcuts, threads
from bot.slack.listeners.buttons import on_click
from bot.slack.listeners.desk import Desk, RecentDeliveries
from bot.slack.listeners.log_window import LOG_BUTTONS
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.listeners.payloads import Body, asker_of, delivery_key
from bot.slack.render.form import FORM

Handler = Callable[[Desk, Body], Awaitable[None]]

ANY = re.compile(".*")
WENT_WRONG = (
    "Something went wrong inside deploybot, and its log says what. Look at the deployment's "
    "message before you try again."
)

log = structlog.get_logger(__name__)


class Listeners:
    """Hears each act once and runs its handler; a failure is told to the one who acted."""

    def __init__(self, desk: Desk, tasks: Tasks) -> None:
        self._desk = desk
        self._tasks = tasks
        self._seen = RecentDeliveries(clock=desk.clock)

    def hear(self, handler: Handler) -> Callable[..., Awaitable[None]]:
        """A Bolt listener for `handler`."""

        async def listener(ack: AsyncAck, body: dict[str, Any]) -> None:
            await ack()
            self.start(handler, body)

        return listener

    def start(self, handler: Handler, body: Body) -> None:
        """Run the handler beside, unless this act was heard before."""
        if self._seen.add(delivery_key(body)):
            name = getattr(handler, "__name__", "listener")
            self._tasks.spawn(self._run(handler, body, name), name=name)

    async def submit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """A form: mistakes go back into it, by field; a good one is closed and worked on."""
        try:
            errors = await modals.check_form(self._desk, body)
        except Exception as error:
            # The form is only a courtesy: the service checks again, and tells the person.
            log.exception("form_not_checked", error=type(error).__name__)
            errors = {}
        if errors:
            await ack(response_action="errors", errors=errors)
            return
        await ack()
        self.start(modals.submit_form, body)

    async def _run(self, handler: Handler, body: Body, name: str) -> None:
        try:
            await handler(self._desk, body)
        except BotError as error:
            await self._tell(body, str(error))
        except Exception as error:
            log.exception("listener_failed", listener=name, error=type(error).__name__)
            await self._tell(body, WENT_WRONG)

    async def _tell(self, body: Body, sentence: str) -> None:
        try:
            await self._desk.answers(asker_of(body)).whisper(sentence)
        except SlackError as error:
            log.warning("answer_not_delivered", error=error.code)


def build_app(
    desk: Desk, *, identity: Identity, tasks: Tasks, signing_secret: str = ""
) -> AsyncApp:
    """Bolt, with every listener. It makes no API call of its own for any request."""
    web = desk.client.web

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(
            enterprise_id=None,
            team_id=identity.team,
            bot_token=web.token,
            bot_id=identity.bot,
            bot_user_id=identity.user,
        )

    # Without a token, for Bolt to copy at each request; the calls are made by `desk.client`.
    bare = AsyncWebClient(base_url=web.base_url, session=web.session)
    app = AsyncApp(client=bare, authorize=authorize, signing_secret=signing_secret)
    listeners = Listeners(desk, tasks)
    hear = listeners.hear
    app.command(ANY)(hear(commands.on_command))
    for button in (*MESSAGE_BUTTONS, *LOG_BUTTONS):
        app.action(button.action_id)(hear(on_click(button)))
    app.view(FORM)(listeners.submit)
    app.message_shortcut(shortcuts.DEPLOY_FROM_MESSAGE)(hear(shortcuts.on_deploy_from_message))
    app.event("app_mention")(hear(threads.on_chat))
    app.event("message")(hear(threads.on_chat))
    for catch_all in (app.event, app.action, app.view, app.view_closed, app.shortcut):
        catch_all(ANY)(_acknowledge)
    app.options(ANY)(_no_options)
    return app


async def _acknowledge(ack: AsyncAck) -> None:
    """What nothing here listens to, such as a link's button: unacknowledged, Slack repeats it."""
    await ack()


async def _no_options(ack: AsyncAck) -> None:
    await ack(options=[])
