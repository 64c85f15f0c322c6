"""What users do in a Slack client: commands, clicks, submissions, messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bot.simulators.slack import payloads, user_input, validation
from bot.simulators.slack.delivery import Ack, Delivery, Envelope, NoAck
from bot.simulators.slack.events import EventPublisher
from bot.simulators.slack.external_options import ExternalOptions, OptionsNotLoadedError
from bot.simulators.slack.interaction_tokens import InteractionTokens
from bot.simulators.slack.manifest import AppConfig
from bot.simulators.slack.methods.chat import Chat
from bot.simulators.slack.methods.views import Views
from bot.simulators.slack.model import (
    ApiError,
    Channel,
    Json,
    Message,
    NotPossible,
    User,
    View,
    has_button,
    interactive_elements,
)
from bot.simulators.slack.responses import Responses
from bot.simulators.slack.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class InteractionResult:
    """The outcome of a user's action."""

    sent: bool
    """False if it never left the client: a declined confirmation, a required field left empty."""
    acked: bool
    ack_after_s: float | None
    response: Json | str | None
    """The body that the app sent with its ack."""
    trigger_id: str
    errors: Mapping[str, str] = field(default_factory=dict)
    """After a submission: errors by block id."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A failure that Slack's client shows to one user."""

    at: datetime
    user: str
    text: str


class UserActions:
    """Actions of users. Each raises NotPossible if a client would not offer it."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        app: AppConfig,
        delivery: Delivery,
        events: EventPublisher,
        tokens: InteractionTokens,
        responses: Responses,
        views: Views,
        chat: Chat,
        options: ExternalOptions,
    ) -> None:
        self._workspace = workspace
        self._app = app
        self._delivery = delivery
        self._events = events
        self._tokens = tokens
        self._responses = responses
        self._views = views
        self._chat = chat
        self._options = options
        self.notices: list[Notice] = []

    async def command(
        self, user: User, channel: Channel, command: str, text: str = ""
    ) -> InteractionResult:
        """Type a slash command into a channel's composer."""
        self._must_be_able_to_write(user, channel)
        self._must_be_of_this_team(user)
        if command not in self._app.commands:
            raise NotPossible(f"{command} is not a valid command here")
        if self._app.commands[command].should_escape:
            text = user_input.as_text(self._workspace, text, style="command")
        trigger_id = self._tokens.new_trigger(user.id)
        response_url = self._tokens.new_response_url(user.id, channel.id, source="command")
        payload = payloads.slash_command(
            self._workspace,
            user,
            channel,
            command,
            text.strip(),
            trigger_id=trigger_id,
            response_url=response_url,
        )
        outcome = await self._delivery.send(Envelope(kind="slash_commands", payload=payload))
        if isinstance(outcome, NoAck):
            error = "operation_timeout" if outcome.reason == "timeout" else "dispatch_failed"
            self._notice(user, f'{command} failed with the error "{error}"')
        elif outcome.response:
            url = self._tokens.use_response_url(response_url.rpartition("/")[2])
            try:
                self._responses.command_ack(url, outcome.response)
            except ApiError as refusal:
                self._notice(user, f'{command} failed with the error "{refusal.code}"')
        return _result(outcome, trigger_id)

    async def click(
        self,
        user: User,
        target: Message | View,
        *,
        action_id: str,
        of: str | None = None,
        confirm: bool = True,
        value: Any = None,
    ) -> InteractionResult:
        """Press a button (or choose `value` in a select) of a message or a view.

        `of` is the value of the button: several blocks may have one with the same action id.
        `confirm` is the answer to the confirmation dialog, if the button has one.
        """
        if isinstance(target, Message):
            self._must_see(user, target)
        elif self._workspace.view(target.id) is None or target.user != user.id:
            raise NotPossible(f"{user.name} does not have that view open")
        shown = [one for one in target.blocks if of is None or has_button(one, action_id, of)]
        return await self._interact(user, target, shown, action_id, confirm, value)

    async def click_stale_for_test(
        self, user: User, message: Message, *, action_id: str, confirm: bool = True
    ) -> InteractionResult:
        """Press a button that the message no longer has, as a slow client does."""
        for rendering in reversed(message.history):
            blocks = list(rendering.blocks)
            if any(e["action_id"] == action_id for _, e in interactive_elements(blocks)):
                return await self._interact(user, message, blocks, action_id, confirm, None)
        raise NotPossible(f"no rendering of {message.ts} ever had {action_id!r}")

    async def suggest(self, user: User, view: View, name: str, typed: str = "") -> list[Json]:
        """Open an external list (by action or block id), or type into it; what it then offers."""
        self._must_be_on_top(user, view)
        block, element = user_input.field(view.blocks, name)
        if element["type"] != "external_select":
            raise NotPossible(f"{name} has no external options")
        try:
            return await self._options.load(user, view, block, element, typed)
        except OptionsNotLoadedError as error:
            self._notice(
                user, f"The options of {element['action_id']} could not be loaded: {error}"
            )
            return []

    async def choose(self, user: User, view: View, name: str, value: str) -> InteractionResult:
        """Choose an option of a list (by action or block id); it may be sent at once."""
        self._must_be_on_top(user, view)
        _, element = user_input.field(view.blocks, name)
        (filled,) = (await self._options.offered(user, view, {name: value})).values()
        action_id = element["action_id"]
        return await self._interact(user, view, view.blocks, action_id, True, filled)

    async def submit(
        self, user: User, view: View, values: Mapping[str, Any] | None = None
    ) -> InteractionResult:
        """Fill in fields (see `user_input.fill`) and press the modal's submit button."""
        self._must_be_on_top(user, view)
        if not view.payload.get("submit"):
            raise NotPossible(f"the modal {view.title!r} has no submit button")
        filled = await self._options.offered(user, view, values or {})
        view.values = user_input.fill(view.blocks, view.values, filled)
        view.errors = user_input.missing_inputs(view.blocks, view.values)
        if view.errors:
            self._workspace.changes.add("view_errors", str(view.errors))
            return _not_sent(view.errors)
        trigger_id = self._tokens.new_trigger(user.id, view_id=view.id)
        payload = payloads.view_submission(self._workspace, user, view, trigger_id=trigger_id)
        outcome = await self._delivery.send(Envelope(kind="interactive", payload=payload))
        if isinstance(outcome, NoAck):
            self._notice(user, "We had some trouble connecting. Try again?")
            return _result(outcome, trigger_id)
        try:
            self._after_submission(view, outcome.response)
        except ApiError as error:
            self._notice(
                user, f"We had some trouble connecting. Try again? ({error.code} {error.messages})"
            )
        return _result(outcome, trigger_id, errors=view.errors)

    async def close(self, user: User, view: View, *, everything: bool = False) -> None:
        """Close a modal with its button (or, with `everything`, the whole stack with its ✕)."""
        self._must_be_on_top(user, view)
        everything = everything or view.payload.get("clear_on_close", False)
        self._views.close(view, everything=everything)
        if view.payload.get("notify_on_close"):
            payload = payloads.view_closed(self._workspace, user, view, is_cleared=everything)
            await self._delivery.send(Envelope(kind="interactive", payload=payload))

    async def shortcut(
        self, user: User, message: Message, *, callback_id: str
    ) -> InteractionResult:
        """Choose a message shortcut from a message's menu; ephemeral messages have none."""
        self._must_see(user, message)
        self._must_be_of_this_team(user)
        if message.ephemeral_for is not None:
            raise NotPossible("ephemeral messages offer no shortcuts")
        if callback_id not in self._app.shortcuts:
            raise NotPossible(f"the app has no message shortcut {callback_id!r}")
        trigger_id = self._tokens.new_trigger(user.id)
        response_url = self._tokens.new_response_url(
            user.id, message.channel, source="shortcut", message=None
        )
        payload = payloads.message_shortcut(
            self._workspace,
            user,
            message,
            callback_id,
            trigger_id=trigger_id,
            response_url=response_url,
        )
        outcome = await self._delivery.send(Envelope(kind="interactive", payload=payload))
        if isinstance(outcome, NoAck):
            name = self._app.shortcuts[callback_id].name
            self._notice(user, f"“{name}” did not work: the app did not respond in time")
        return _result(outcome, trigger_id)

    async def say(
        self, user: User, channel: Channel, text: str, *, thread_ts: str | None = None
    ) -> Message:
        """Post a message or a reply; `@name` is a mention."""
        self._must_be_able_to_write(user, channel)
        if not text.strip():
            raise NotPossible("the message is empty")
        if text.startswith("/"):
            where = "in threads" if thread_ts else "as a message; use `command`"
            raise NotPossible(f"slash commands cannot be sent {where}")
        if thread_ts is not None and not self._workspace.has_thread(channel.id, thread_ts):
            raise NotPossible(f"there is no thread {thread_ts}")
        if (forbidden := self._workspace.forbids(channel, thread_ts)) and not channel.read_only:
            raise NotPossible(forbidden)  # in a read-only channel, admins may
        return self._workspace.post(
            Message(
                channel=channel.id,
                ts=self._workspace.clock.next_ts(),
                user=user.id,
                text=user_input.as_text(self._workspace, text, style="message"),
                thread_ts=thread_ts,
            )
        )

    async def delete(self, user: User, message: Message) -> None:
        """Delete one's own message, or the bot's as an admin does."""
        self._must_see(user, message)
        if message.user not in {user.id, self._workspace.bot.id}:
            raise NotPossible(f"{user.name} may not delete that message")
        self._workspace.delete(message, self._chat.snapshot(message))

    async def open_home(
        self, user: User, *, tab: Literal["home", "messages"] = "home"
    ) -> View | None:
        """Open the app, at its Home tab or its messages; return what the Home tab shows."""
        self._must_be_of_this_team(user)
        if tab == "home" and not self._app.home_tab:
            raise NotPossible("the app has no Home tab")
        self._events.home_opened(user.id, tab)
        return self._workspace.homes.get(user.id)

    async def _interact(
        self,
        user: User,
        target: Message | View,
        shown: list[Json],
        action_id: str,
        confirm: bool,
        value: Any,
    ) -> InteractionResult:
        if not self._app.interactive:
            raise NotPossible("the app has not enabled interactivity")
        found = [pair for pair in interactive_elements(shown) if pair[1]["action_id"] == action_id]
        if len(found) != 1:
            there = [element["action_id"] for _, element in interactive_elements(shown)]
            raise NotPossible(f"{len(found)} elements are {action_id!r}; there are {there}")
        block, element = found[0]
        if "confirm" in element and not confirm:
            return _not_sent({})
        action = {
            **user_input.action_value(element, value),
            "action_id": action_id,
            "block_id": block["block_id"],
            "action_ts": self._workspace.clock.next_ts(),
        }
        if isinstance(target, View):
            if element["type"] != "button":
                target.values = user_input.fill(target.blocks, target.values, {action_id: value})
            if block["type"] == "input" and not block.get("dispatch_action", False):
                return _not_sent({})
            trigger_id = self._tokens.new_trigger(user.id, view_id=target.id)
            payload = payloads.view_action_click(
                self._workspace, user, target, action, trigger_id=trigger_id
            )
        else:
            trigger_id = self._tokens.new_trigger(user.id)
            payload = payloads.message_action_click(
                self._workspace,
                user,
                target,
                action,
                shown=shown,
                trigger_id=trigger_id,
                response_url=self._tokens.new_response_url(
                    user.id, target.channel, source="action", message=target
                ),
            )
        outcome = await self._delivery.send(Envelope(kind="interactive", payload=payload))
        if isinstance(outcome, NoAck):
            label = element["text"]["text"] if element["type"] == "button" else action_id
            self._notice(user, f"⚠ “{label}”: the app did not respond in time")
        return _result(outcome, trigger_id)

    def _after_submission(self, view: View, response: Json | str | None) -> None:
        if not response:
            self._views.close(view)
            return
        if not isinstance(response, dict):
            raise ApiError("invalid_response_body")
        match response.get("response_action"):
            case "errors":
                inputs = {b["block_id"] for b in view.blocks if b["type"] == "input"}
                errors = response.get("errors")
                if not isinstance(errors, dict) or not errors or set(errors) - inputs:
                    raise ApiError("invalid_errors", messages=[f"{errors} for {sorted(inputs)}"])
                view.errors = {block_id: str(text) for block_id, text in errors.items()}
                self._workspace.changes.add("view_errors", str(view.errors))
            case "update":
                self._views.replace(view, _modal(response))
            case "push":
                self._views.push_onto(view, _modal(response))
            case "clear":
                self._views.close(view, everything=True)
            case other:
                raise ApiError("invalid_response_action", messages=[str(other)])

    def _notice(self, user: User, text: str) -> None:
        self.notices.append(Notice(at=self._workspace.clock.now(), user=user.id, text=text))
        self._workspace.changes.add("notice", f"{user.name}: {text}")

    def _must_be_able_to_write(self, user: User, channel: Channel) -> None:
        if user.id not in channel.members:
            raise NotPossible(f"{user.name} is not in #{channel.name}")
        if channel.is_archived:
            raise NotPossible(f"#{channel.name} is archived")

    def _must_be_of_this_team(self, user: User) -> None:
        same = (
            user.enterprise_id is not None and user.enterprise_id == self._workspace.enterprise_id
        )
        if not same and user.team_id != self._workspace.team_id:
            raise NotPossible(f"{user.name}'s workspace has not installed this app")

    def _must_see(self, user: User, message: Message) -> None:
        if message.deleted:
            raise NotPossible(f"the message {message.ts} was deleted")
        if message.ephemeral_for not in {None, user.id}:
            raise NotPossible(f"{user.name} does not see that message")
        if user.id not in self._workspace.channels[message.channel].members:
            raise NotPossible(f"{user.name} is not in that channel")

    def _must_be_on_top(self, user: User, view: View) -> None:
        if self._workspace.open_view(user.id) is not view:
            raise NotPossible(f"{view.title!r} is not the modal that {user.name} sees")


def _modal(response: Json) -> Json:
    return validation.check_view(response.get("view"), kind="modal")


def _result(
    outcome: Ack | NoAck, trigger_id: str, *, errors: Mapping[str, str] | None = None
) -> InteractionResult:
    acked = isinstance(outcome, Ack)
    return InteractionResult(
        sent=True,
        acked=acked,
        ack_after_s=outcome.after_s if isinstance(outcome, Ack) else None,
        response=outcome.response if isinstance(outcome, Ack) else None,
        trigger_id=trigger_id,
        errors=dict(errors or {}),
    )


def _not_sent(errors: Mapping[str, str]) -> InteractionResult:
    return InteractionResult(
        sent=False, acked=False, ack_after_s=None, response=None, trigger_id="", errors=dict(errors)
    )
