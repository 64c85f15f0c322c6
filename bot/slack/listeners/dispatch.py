"""Maps Slack's requests to handlers: acknowledge first, then run the handler as a task.

If a listener raises within about 10 ms of its ack, Bolt drops the ack and answers 404 three
seconds later. So a listener only acknowledges and starts a task.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import Tasks
from bot.deployments.lock import Locked
from bot.errors import BotError, DatabaseDown, SlackError
from bot.names import slash
from bot.slack.client import Identity
from bot.slack.listeners import approvals, commands, locks, modals, shortcuts, threads
from bot.slack.listeners.clicks import on_click
from bot.slack.listeners.desk import Desk, RecentDeliveries, Repeated
from bot.slack.listeners.details import DETAIL_BUTTONS
from bot.slack.listeners.home import HomeTabs, open_deploy_form
from bot.slack.listeners.log_window import LOG_BUTTONS
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.listeners.payloads import Body, asker_of, delivery_key, part, word
from bot.slack.listeners.question_buttons import QUESTION_BUTTONS
from bot.slack.render.form import APP_BLOCK, CHOICE, FORM, REF_BLOCK
from bot.slack.render.home import DEPLOY
from bot.slack.render.reject_form import REJECT

Handler = Callable[[Desk, Body], Awaitable[None]]

ANY = re.compile(".*")
WENT_WRONG = (
    "Something went wrong in deploybot; its log has the cause. Check the deployment's message "
    "before you try again."
)

RESTARTED = (
    "deploybot was restarted while it worked on this, so it may be done or not. Deployments that "
    "run go on. In a minute, look at {status} before you try again."
)
NO_DATABASE = (
    "The bot's database does not answer, so nothing was done. What is running goes on. Try again "
    "in a minute; `/readyz` and the bot's log have the cause."
)

log = structlog.get_logger(__name__)


class Listeners:
    """Runs the handler of each request once; the person who acted sees its errors."""

    def __init__(self, desk: Desk, tasks: Tasks) -> None:
        self._desk = desk
        self._tasks = tasks
        self._seen = RecentDeliveries(clock=desk.clock)

    def listener_for(self, handler: Handler) -> Callable[..., Awaitable[None]]:
        """A Bolt listener for `handler`."""

        async def listener(ack: AsyncAck, body: dict[str, Any]) -> None:
            await ack()
            self.start(handler, body)

        return listener

    def listener_of(self, handlers: Mapping[str, Handler]) -> Callable[..., Awaitable[None]]:
        """A Bolt listener for all buttons and menus, each with its handler.

        Bolt asks listener after listener whether a request is for it: one for each button
        would hold up every request. One without a handler, such as a link button, is acknowledged.
        """

        async def listener(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
            await ack()
            if (handler := handlers.get(word(action, "action_id"))) is not None:
                self.start(handler, body)

        return listener

    def start(self, handler: Handler, body: Body) -> None:
        """Run the handler in the background, unless this request arrived before."""
        if self._seen.add(delivery_key(body)):
            name = getattr(handler, "__name__", "listener")
            self._tasks.spawn(self._run(handler, body, name), name=name)

    async def on_message(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """A message event: of a person, or that says that the bot is back in a channel."""
        await ack()
        event = part(body, "event")
        subtype = word(event, "subtype")
        spoken = subtype in threads.SPOKEN_SUBTYPES and "bot_id" not in event
        if spoken or subtype in threads.BACK:
            self.start(threads.on_chat, body)

    async def submit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """A submitted form: show mistakes at their fields, or close it and deploy."""
        try:
            errors = await modals.check_form(self._desk, body)
        except Exception as error:
            # This check is for convenience: the service checks again, and answers the person.
            log.exception("form_not_checked", error=type(error).__name__)
            errors = {}
        if errors:
            await ack(response_action="errors", errors=errors)
            return
        await ack()
        self.start(modals.submit_form, body)

    async def offer(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """A searched field of the form: the answer is the ack itself."""
        try:
            options = await modals.form_options(self._desk, body)
        except BotError as error:
            log.info("options_not_read", error=type(error).__name__)
            options = []
        await ack(options=options)

    async def _run(self, handler: Handler, body: Body, name: str) -> None:
        try:
            await self._handle(handler, body, name)
        except asyncio.CancelledError:
            await self._answer(body, RESTARTED.format(status=slash("status")))
            raise

    async def _handle(self, handler: Handler, body: Body, name: str) -> None:
        try:
            await handler(self._desk, body)
        except Repeated as repeated:
            log.info("request_repeated", listener=name, key=str(repeated))
        except Locked as error:
            await self._offer(body, error)
        except DatabaseDown as error:
            log.warning("database_unreachable", listener=name, why=str(error))
            await self._answer(body, NO_DATABASE)
        except BotError as error:
            await self._answer(body, str(error))
        except Exception as error:
            log.exception("listener_failed", listener=name, error=type(error).__name__)
            await self._answer(body, WENT_WRONG)

    async def _offer(self, body: Body, error: Locked) -> None:
        """Someone else's lock: say so, with the buttons that end it."""
        try:
            answer = await locks.refusal(self._desk, body, error)
            await self._desk.answers(asker_of(body)).whisper_answer(answer)
        except SlackError as refused:
            log.warning("answer_not_delivered", error=refused.code)

    async def _answer(self, body: Body, sentence: str) -> None:
        try:
            await self._desk.answers(asker_of(body)).whisper(sentence)
        except SlackError as error:
            log.warning("answer_not_delivered", error=error.code)


def build_app(
    desk: Desk, *, identity: Identity, tasks: Tasks, homes: HomeTabs, signing_secret: str = ""
) -> AsyncApp:
    """Bolt, with every listener. It makes no API call by itself for any request."""
    web = desk.client.web

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(
            enterprise_id=identity.enterprise,
            team_id=identity.team,
            bot_token=web.token,
            bot_id=identity.bot,
            bot_user_id=identity.user,
        )

    # Bolt copies this client for each request. It has no token: calls go through `desk.client`.
    bare = AsyncWebClient(base_url=web.base_url, session=web.session)
    app = AsyncApp(
        # Without a name Bolt reads the source of every caller to find one: 0.1 s of each start.
        name="deploybot",
        client=bare,
        authorize=authorize,
        signing_secret=signing_secret,
        # The bot's own joining of a channel is news to it; `threads` passes over the rest.
        ignoring_self_events_enabled=False,
    )
    listeners = Listeners(desk, tasks)
    listen = listeners.listener_for
    buttons = (*MESSAGE_BUTTONS, *LOG_BUTTONS, *QUESTION_BUTTONS)
    handlers: dict[str, Handler] = {
        **{button.action_id: on_click(button) for button in buttons},
        **locks.LOCK_BUTTONS,
        **DETAIL_BUTTONS,
        **dict.fromkeys((APP_BLOCK, CHOICE), modals.on_form_change),
        DEPLOY: open_deploy_form,
    }
    # The most frequent first: Bolt asks them in this order.
    app.event("message")(listeners.on_message)
    app.action(ANY)(listeners.listener_of(handlers))
    app.command(ANY)(listen(commands.on_command))
    app.view(FORM)(listeners.submit)
    app.view(REJECT)(listen(approvals.on_reject))
    for searched in (APP_BLOCK, REF_BLOCK):
        app.options(searched)(listeners.offer)
    app.message_shortcut(shortcuts.DEPLOY_FROM_MESSAGE)(listen(shortcuts.on_deploy_from_message))
    app.message_shortcut(shortcuts.DEPLOYMENT_STATUS)(listen(shortcuts.on_deployment_status))
    app.event("app_mention")(listen(threads.on_chat))
    app.event("app_home_opened")(listen(homes.opened))
    for catch_all in (app.event, app.view, app.view_closed, app.shortcut):
        catch_all(ANY)(_acknowledge)
    app.options(ANY)(_no_options)
    return app


async def _acknowledge(ack: AsyncAck) -> None:
    """For requests without a handler: Slack repeats them otherwise."""
    await ack()


async def _no_options(ack: AsyncAck) -> None:
    await ack(options=[])
