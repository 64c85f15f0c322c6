"""The state of the workspace: users, channels, messages, open views. No decisions here."""

from collections.abc import Callable, Iterator
from typing import Literal

from bot.simulators.slack.changes import ChangeLog
from bot.simulators.slack.clock import Clock
from bot.simulators.slack.model import (
    Channel,
    ChannelKind,
    Json,
    Message,
    Rendering,
    SlackFile,
    User,
    UserGroup,
    View,
)

MessageChange = Literal["posted", "edited", "deleted"]
MessageHook = Callable[[MessageChange, Message, Json | None], None]
"""Change, the message, and its previous Slack JSON (None for a new one)."""


class Workspace:
    """One team with one installed app, with some users and channels."""

    def __init__(self, *, clock: Clock, app_name: str, bot_name: str) -> None:
        self.clock = clock
        self.changes = ChangeLog(clock=clock)
        self.team_id = "T01SIMULATED"
        self.team_domain = "simulated"
        self.enterprise_id: str | None = None
        self.app_id = "A01SIMULATED"
        self.app_name = app_name
        self.bot = User(
            id="U01BOTUSER0",
            name=bot_name,
            real_name=app_name,
            team_id=self.team_id,
            is_bot=True,
            bot_id="B01SIMULATED",
        )
        self.users: dict[str, User] = {self.bot.id: self.bot}
        self.channels: dict[str, Channel] = {}
        self.groups: dict[str, UserGroup] = {}
        self.files: dict[str, SlackFile] = {}
        self.uploads = True
        """False: the workspace has disabled all file uploads."""
        self.messages_tab = True
        """False: the app takes no direct messages."""
        self.ephemerals: list[Message] = []
        self.modals: dict[str, list[View]] = {}
        """The stack of open modals by user, topmost last."""
        self.homes: dict[str, View] = {}
        self.on_message: list[MessageHook] = []
        self._messages: dict[str, dict[str, Message]] = {}
        self._counter = 0
        self._seed()

    def _seed(self) -> None:
        for user_id, name, real_name, team in (
            ("U01ADA00001", "ada", "Ada Lovelace", self.team_id),
            ("U01GRACE001", "grace", "Grace Hopper", self.team_id),
            ("U01ALAN0001", "alan", "Alan Turing", self.team_id),
            ("U02MALLORY1", "mallory", "Mallory Elsewhere", "T02ELSEWHERE"),
        ):
            self.users[user_id] = User(id=user_id, name=name, real_name=real_name, team_id=team)
        people = {user.id for user in self.users.values() if user.team_id == self.team_id}
        people.discard(self.bot.id)
        everyone = people | {"U02MALLORY1"}
        bot = {self.bot.id}
        self.add_channel("C01DEPLOYS0", "deploys", members=everyone | bot, is_ext_shared=True)
        self.add_channel("C01RANDOM00", "random", members=people)
        self.add_channel("C01ONCALL00", "oncall", kind="group", members=people | bot)
        self.add_channel("C01SECRET00", "secret", kind="group", members=people)
        for user_id in sorted(people):
            name = self.users[user_id].name
            self.add_channel(f"D01{name.upper():0<8}", name, kind="im", members={user_id} | bot)
        two = {"U01ADA00001", "U01GRACE001"}
        self.add_channel("D02ADAGRACE", "ada-grace", kind="im", members=two)
        self.groups["S01RELEASE0"] = UserGroup(
            id="S01RELEASE0", handle="release-team", users=("U01ADA00001", "U01GRACE001")
        )

    def add_channel(
        self,
        channel_id: str,
        name: str,
        *,
        members: set[str],
        kind: ChannelKind = "channel",
        is_ext_shared: bool = False,
    ) -> Channel:
        """Create a conversation."""
        channel = Channel(
            id=channel_id,
            name=name,
            kind=kind,
            members=set(members),
            is_ext_shared=is_ext_shared,
        )
        self.channels[channel_id] = channel
        self._messages[channel_id] = {}
        return channel

    def new_id(self, prefix: str) -> str:
        """Return a new Slack-like id."""
        self._counter += 1
        return f"{prefix}0SIM{self._counter:06d}"

    def direct_channel(self, user_id: str) -> Channel | None:
        """Return the DM between the bot and this user."""
        wanted = {user_id, self.bot.id}
        for channel in self.channels.values():
            if channel.kind == "im" and channel.members == wanted:
                return channel
        return None

    # Messages -------------------------------------------------------------------------------

    def messages(self, channel_id: str) -> Iterator[Message]:
        """Yield the messages that are not deleted, replies too, oldest first."""
        for message in self._messages[channel_id].values():
            if not message.deleted:
                yield message

    def message(self, channel_id: str, ts: str) -> Message | None:
        """Return one message, unless it was deleted."""
        found = self._messages[channel_id].get(ts)
        return None if found is None or found.deleted else found

    def has_thread(self, channel_id: str, ts: str) -> bool:
        """Whether one can reply there: the parent exists, or its tombstone with replies."""
        found = self._messages[channel_id].get(ts)
        return (
            found is not None
            and found.thread_ts is None
            and (not found.deleted or bool(found.replies))
        )

    def forbids(self, channel: Channel, thread_ts: str | None) -> str | None:
        """The error for a post that an admin's setting forbids; None: it is allowed.

        Source: Slack docs, errors of chat.postMessage.
        """
        parent = None if thread_ts is None else self._messages[channel.id].get(thread_ts)
        for forbidden, code in (
            (channel.read_only, "read_only_channel"),
            (thread_ts is None and channel.threads == "only", "thread_only_channel"),
            (thread_ts is not None and channel.threads == "none", "non_threadable_channel"),
            (parent is not None and parent.locked, "thread_locked"),
        ):
            if forbidden:
                return f"restricted_action_{code}"
        return None

    def post(self, message: Message) -> Message:
        """Add a message, also to its parent's replies."""
        self._remember_rendering(message)
        if message.ephemeral_for is not None:
            self.ephemerals.append(message)
            self.changes.add("ephemeral", f"{message.channel} {message.ts} {message.plain[:80]!r}")
            return message
        self._messages[message.channel][message.ts] = message
        if message.thread_ts is not None:
            self._messages[message.channel][message.thread_ts].replies.append(message.ts)
        self.changes.add("message", f"{message.channel} {message.ts} {message.plain[:80]!r}")
        for hook in self.on_message:
            hook("posted", message, None)
        return message

    def edit(self, message: Message, before: Json) -> None:
        """Publish that a message was changed; `before` is its previous Slack JSON."""
        self._remember_rendering(message)
        self.changes.add("edit", f"{message.channel} {message.ts} {message.plain[:80]!r}")
        if message.ephemeral_for is None:
            for hook in self.on_message:
                hook("edited", message, before)

    def delete(self, message: Message, before: Json) -> None:
        """Delete a message; a parent with replies leaves a tombstone, as in Slack."""
        message.deleted = True
        if message.ephemeral_for is not None:
            self.ephemerals.remove(message)
        elif message.thread_ts is not None:
            self._messages[message.channel][message.thread_ts].replies.remove(message.ts)
        self.changes.add("delete", f"{message.channel} {message.ts}")
        if message.ephemeral_for is None:
            for hook in self.on_message:
                hook("deleted", message, before)

    def _remember_rendering(self, message: Message) -> None:
        message.history.append(
            Rendering(at=self.clock.now(), text=message.text, blocks=tuple(message.blocks))
        )

    # Views ----------------------------------------------------------------------------------

    def open_view(self, user_id: str) -> View | None:
        """Return the user's topmost modal."""
        stack = self.modals.get(user_id)
        return stack[-1] if stack else None

    def view(self, view_id: str) -> View | None:
        """Find an open modal or a Home tab by its id."""
        for stack in self.modals.values():
            for view in stack:
                if view.id == view_id:
                    return view
        for view in self.homes.values():
            if view.id == view_id:
                return view
        return None

    def view_by_external_id(self, external_id: str) -> View | None:
        """Find an open modal or a Home tab by the app's external id."""
        candidates = [view for stack in self.modals.values() for view in stack]
        for view in [*candidates, *self.homes.values()]:
            if view.payload.get("external_id") == external_id:
                return view
        return None

    def new_hash(self) -> str:
        """Return a new version of a view."""
        self._counter += 1
        return f"{int(self.clock.now_s())}.{self._counter:08x}"

    # Reading --------------------------------------------------------------------------------

    def dump(self) -> str:
        """Return the whole workspace as text, for a failed test."""
        lines: list[str] = []
        for channel in self.channels.values():
            for message in self.messages(channel.id):
                indent = "    " if message.thread_ts else "  "
                who = self.users[message.user].name
                lines.append(f"{indent}#{channel.name} {message.ts} <{who}> {message.plain}")
        lines += [
            f"  (only {self.users[m.ephemeral_for or ''].name}) {m.plain}" for m in self.ephemerals
        ]
        for user_id, stack in self.modals.items():
            lines += [
                f"  [modal of {self.users[user_id].name}] {view.title}: {view.plain}"
                for view in stack
            ]
        return "\n".join(lines) or "  (no messages)"
