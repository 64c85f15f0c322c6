"""`conversations.*`: channels, their members and their messages."""

import base64
from collections.abc import Mapping, Sequence

from bot.simulators.slack.json_objects import channel_json, message_json
from bot.simulators.slack.methods.method import ArgumentKind, Method
from bot.simulators.slack.model import ApiError, Channel, Json, Message
from bot.simulators.slack.workspace import Workspace

_PAGE: Mapping[str, ArgumentKind] = {"cursor": "string", "limit": "integer"}
_RANGE: Mapping[str, ArgumentKind] = {
    "latest": "string",
    "oldest": "string",
    "inclusive": "boolean",
    "include_all_metadata": "boolean",
}
_READ = ("channels:read", "groups:read", "im:read")
_HISTORY = ("channels:history", "groups:history", "im:history", "mpim:history")
_MOST = 1000
_SCOPE_PREFIX = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}


class Conversations:
    """The methods of `conversations.*`. All only read; `conversations.open` finds a DM."""

    def __init__(self, *, workspace: Workspace, scopes: frozenset[str]) -> None:
        self._workspace = workspace
        self._scopes = scopes

    def methods(self) -> Mapping[str, Method]:
        """Return the methods by name."""
        return {
            "conversations.info": Method(
                handler=self._info,
                arguments={"channel": "string", "include_num_members": "boolean"},
                required=("channel",),
                scopes=_READ,
                tier=3,
            ),
            "conversations.open": Method(
                handler=self._open,
                arguments={"users": "string", "channel": "string", "return_im": "boolean"},
                scopes=("im:write",),
                tier=3,
            ),
            "conversations.members": Method(
                handler=self._members,
                arguments={"channel": "string", **_PAGE},
                required=("channel",),
                scopes=_READ,
                tier=4,
            ),
            "conversations.history": Method(
                handler=self._history,
                arguments={"channel": "string", **_RANGE, **_PAGE},
                required=("channel",),
                scopes=_HISTORY,
                tier=3,
            ),
            "conversations.replies": Method(
                handler=self._replies,
                arguments={"channel": "string", "ts": "string", **_RANGE, **_PAGE},
                required=("channel", "ts"),
                scopes=_HISTORY,
                tier=3,
            ),
        }

    def _info(self, args: Json) -> Json:
        """conversations.info."""
        channel = self._readable(args["channel"], "read")
        shown = channel_json(self._workspace, channel)
        if args.get("include_num_members"):
            shown["num_members"] = len(channel.members)
        return {"ok": True, "channel": shown}

    def _open(self, args: Json) -> Json:
        """conversations.open: the DM with one user."""
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

    def _members(self, args: Json) -> Json:
        """conversations.members."""
        channel = self._readable(args["channel"], "read")
        if channel.is_private and self._workspace.bot.id not in channel.members:
            raise ApiError("channel_not_found")
        start = _start(args)
        members = sorted(channel.members)
        page = members[start : start + _limit(args)]
        return {
            "ok": True,
            "members": page,
            "response_metadata": {"next_cursor": _cursor(start + len(page), len(members))},
        }

    def _history(self, args: Json) -> Json:
        """conversations.history: newest first, of the replies only broadcast ones."""
        channel = self._member_only(args["channel"])
        messages = [
            message
            for message in self._workspace.messages(channel.id)
            if message.thread_ts is None or message.reply_broadcast
        ]
        return self._page(args, messages[::-1])

    def _replies(self, args: Json) -> Json:
        """conversations.replies: the parent, then the replies, oldest first."""
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
