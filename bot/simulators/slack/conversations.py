"""conversations.*, users.*, usergroups.* and bots.*: what a bot may look up."""

import base64
from collections.abc import Sequence

from bot.simulators.slack.errors import ApiError
from bot.simulators.slack.model import Channel, Json, Message
from bot.simulators.slack.shapes import bot_json, channel_json, message_json
from bot.simulators.slack.workspace import Workspace

_MOST = 1000
_SCOPE_PREFIX = {"channel": "channels", "group": "groups", "im": "im"}


class Conversations:
    """The handlers that only read (and `conversations.open`, which finds a DM)."""

    def __init__(self, *, workspace: Workspace, scopes: frozenset[str]) -> None:
        self._workspace = workspace
        self._scopes = scopes

    def info(self, args: Json) -> Json:
        """conversations.info."""
        channel = self._readable(args["channel"], "read")
        shown = channel_json(self._workspace, channel)
        if args.get("include_num_members"):
            shown["num_members"] = len(channel.members)
        return {"ok": True, "channel": shown}

    def open(self, args: Json) -> Json:
        """conversations.open, for the DM with one person."""
        if "channel" in args:
            channel = self._readable(args["channel"], "write")
        else:
            users = [user for user in args.get("users", "").split(",") if user]
            if len(users) != 1:
                raise ApiError(
                    "invalid_arguments",
                    messages=["[ERROR] only DMs with one person are modelled: users"],
                )
            found = self._workspace.direct_channel(users[0])
            if found is None:
                raise ApiError("user_not_found")
            channel = found
        shown = channel_json(self._workspace, channel)
        return {
            "ok": True,
            "no_op": True,
            "already_open": True,
            "channel": shown if args.get("return_im") else {"id": channel.id},
        }

    def members(self, args: Json) -> Json:
        """conversations.members."""
        channel = self._readable(args["channel"], "read")
        if channel.is_private and self._workspace.bot.id not in channel.members:
            raise ApiError("channel_not_found")
        start = _start(args)
        everybody = sorted(channel.members)
        page = everybody[start : start + _limit(args)]
        return {
            "ok": True,
            "members": page,
            "response_metadata": {"next_cursor": _cursor(start + len(page), len(everybody))},
        }

    def history(self, args: Json) -> Json:
        """conversations.history: newest first, without replies that were not broadcast."""
        channel = self._member_only(args["channel"])
        messages = [
            message
            for message in self._workspace.messages(channel.id)
            if message.thread_ts is None or message.reply_broadcast
        ]
        return self._page(args, messages[::-1])

    def replies(self, args: Json) -> Json:
        """conversations.replies: the parent first, then the replies, oldest first."""
        channel = self._member_only(args["channel"])
        asked = self._workspace.message(channel.id, args["ts"])
        if asked is None:
            raise ApiError("thread_not_found")
        parent_ts = asked.thread_ts or asked.ts
        thread = [
            message
            for message in self._workspace.messages(channel.id)
            if parent_ts in {message.ts, message.thread_ts}
        ]
        return self._page(args, thread)

    def user(self, args: Json) -> Json:
        """users.info."""
        user = self._workspace.users.get(args["user"])
        if user is None:
            raise ApiError("user_not_found")
        return {"ok": True, "user": user.to_json()}

    def group_users(self, args: Json) -> Json:
        """usergroups.users.list."""
        group = self._workspace.groups.get(args["usergroup"])
        if group is None:
            raise ApiError("no_such_subteam")
        return {"ok": True, "users": list(group.users)}

    def bot(self, args: Json) -> Json:
        """bots.info."""
        if args.get("bot", self._workspace.bot.bot_id) != self._workspace.bot.bot_id:
            raise ApiError("bot_not_found")
        return {"ok": True, "bot": bot_json(self._workspace)}

    def _readable(self, channel_id: str, what: str) -> Channel:
        channel = self._workspace.channels.get(channel_id)
        if channel is None or (
            channel.is_private and self._workspace.bot.id not in channel.members
        ):
            raise ApiError("channel_not_found")
        needed = f"{_SCOPE_PREFIX[channel.kind]}:{what}"
        if needed not in self._scopes:
            raise ApiError("missing_scope", needed=needed, provided=",".join(sorted(self._scopes)))
        return channel

    def _member_only(self, channel_id: str) -> Channel:
        channel = self._readable(channel_id, "history")
        if self._workspace.bot.id not in channel.members:
            raise ApiError("not_in_channel")
        return channel

    def _page(self, args: Json, messages: Sequence[Message]) -> Json:
        inclusive = args.get("inclusive", False)
        oldest, latest = float(args.get("oldest", 0)), float(args.get("latest", "inf"))
        within = [
            message
            for message in messages
            if (oldest < float(message.ts) < latest)
            or (inclusive and float(message.ts) in {oldest, latest})
        ]
        start = _start(args)
        page = within[start : start + _limit(args)]
        cursor = _cursor(start + len(page), len(within))
        metadata = args.get("include_all_metadata", False)
        return {
            "ok": True,
            "messages": [
                message_json(self._workspace, message, include_metadata=metadata)
                for message in page
            ],
            "has_more": bool(cursor),
            "response_metadata": {"next_cursor": cursor},
        }


def _limit(args: Json) -> int:
    limit = int(args.get("limit", 100))
    if not 1 <= limit <= _MOST:
        raise ApiError("invalid_limit")
    return limit


def _start(args: Json) -> int:
    cursor = args.get("cursor")
    if not cursor:
        return 0
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("next:"))
    except ValueError:
        raise ApiError("invalid_cursor") from None


def _cursor(position: int, total: int) -> str:
    return base64.b64encode(f"next:{position}".encode()).decode() if position < total else ""
