"""The Web API methods that are modelled, with their arguments, tokens, scopes and tiers.

Source: Slack's own method facts (slack-ruby/slack-api-ref, docs.slack.dev/methods). Arguments that
exist but are not modelled are left out on purpose: using one is an error that names it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot.simulators.slack.errors import ApiError

ArgumentKind = Literal["string", "boolean", "integer", "json"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: what a method takes and needs."""

    arguments: Mapping[str, ArgumentKind]
    required: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    """Any one of these is enough; none means that no scope is needed."""
    tier: int | None = None
    token: Literal["bot", "app"] = "bot"


_PAGE: Mapping[str, ArgumentKind] = {"cursor": "string", "limit": "integer"}
_READ = ("channels:read", "groups:read", "im:read")
_HISTORY = ("channels:history", "groups:history", "im:history")
_RANGE: Mapping[str, ArgumentKind] = {
    "latest": "string",
    "oldest": "string",
    "inclusive": "boolean",
    "include_all_metadata": "boolean",
}

METHODS: Mapping[str, Method] = {
    "auth.test": Method(arguments={}),
    "apps.connections.open": Method(arguments={}, tier=3, token="app"),
    "bots.info": Method(arguments={"bot": "string"}, scopes=("users:read",), tier=3),
    "chat.postMessage": Method(
        arguments={
            "channel": "string",
            "text": "string",
            "blocks": "json",
            "thread_ts": "string",
            "reply_broadcast": "boolean",
            "metadata": "json",
            "unfurl_links": "boolean",
            "unfurl_media": "boolean",
            "parse": "string",
        },
        required=("channel",),
        scopes=("chat:write",),
    ),
    "chat.update": Method(
        arguments={
            "channel": "string",
            "ts": "string",
            "text": "string",
            "blocks": "json",
            "metadata": "json",
            "parse": "string",
        },
        required=("channel", "ts"),
        scopes=("chat:write",),
        tier=3,
    ),
    "chat.delete": Method(
        arguments={"channel": "string", "ts": "string"},
        required=("channel", "ts"),
        scopes=("chat:write",),
        tier=3,
    ),
    "chat.postEphemeral": Method(
        arguments={
            "channel": "string",
            "user": "string",
            "text": "string",
            "blocks": "json",
            "thread_ts": "string",
            "parse": "string",
        },
        required=("channel", "user"),
        scopes=("chat:write",),
        tier=4,
    ),
    "chat.getPermalink": Method(
        arguments={"channel": "string", "message_ts": "string"},
        required=("channel", "message_ts"),
    ),
    "views.open": Method(
        arguments={"trigger_id": "string", "view": "json"}, required=("trigger_id", "view"), tier=4
    ),
    "views.push": Method(
        arguments={"trigger_id": "string", "view": "json"}, required=("trigger_id", "view"), tier=4
    ),
    "views.update": Method(
        arguments={"view_id": "string", "external_id": "string", "view": "json", "hash": "string"},
        required=("view",),
        tier=4,
    ),
    "views.publish": Method(
        arguments={"user_id": "string", "view": "json", "hash": "string"},
        required=("user_id", "view"),
        tier=4,
    ),
    "conversations.info": Method(
        arguments={"channel": "string", "include_num_members": "boolean"},
        required=("channel",),
        scopes=_READ,
        tier=3,
    ),
    "conversations.open": Method(
        arguments={"users": "string", "channel": "string", "return_im": "boolean"},
        scopes=("im:write",),
        tier=3,
    ),
    "conversations.members": Method(
        arguments={"channel": "string", **_PAGE}, required=("channel",), scopes=_READ, tier=4
    ),
    "conversations.history": Method(
        arguments={"channel": "string", **_RANGE, **_PAGE},
        required=("channel",),
        scopes=_HISTORY,
        tier=3,
    ),
    "conversations.replies": Method(
        arguments={"channel": "string", "ts": "string", **_RANGE, **_PAGE},
        required=("channel", "ts"),
        scopes=_HISTORY,
        tier=3,
    ),
    "users.info": Method(
        arguments={"user": "string"}, required=("user",), scopes=("users:read",), tier=4
    ),
    "usergroups.users.list": Method(
        arguments={"usergroup": "string", "include_disabled": "boolean"},
        required=("usergroup",),
        scopes=("usergroups:read",),
        tier=2,
    ),
    "files.getUploadURLExternal": Method(
        arguments={"filename": "string", "length": "integer", "snippet_type": "string"},
        required=("filename", "length"),
        scopes=("files:write",),
        tier=4,
    ),
    "files.completeUploadExternal": Method(
        arguments={
            "files": "json",
            "channel_id": "string",
            "thread_ts": "string",
            "initial_comment": "string",
        },
        required=("files",),
        scopes=("files:write",),
        tier=4,
    ),
}


def read_arguments(method: Method, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Typed arguments from a form (all strings) or a JSON body.

    Raises: ApiError invalid_arguments, naming every argument that is unknown, missing or malformed.
    """
    read: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in raw.items():
        # Slack's own SDK adds the team to every call of a client made for one team.
        if value is None or key == "team_id":
            continue
        kind = method.arguments.get(key)
        if kind is None:
            problems.append(f"[ERROR] argument not modelled by this workspace: {key}")
            continue
        try:
            read[key] = _CONVERT[kind](value)
        except (TypeError, ValueError):
            problems.append(f"[ERROR] argument {key} must be a {kind}")
    problems += [
        f"[ERROR] missing required field: {key}" for key in method.required if key not in read
    ]
    if problems:
        raise ApiError("invalid_arguments", messages=problems)
    return read


def _as_string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _as_boolean(value: Any) -> bool:
    match value:
        case True | "true" | "1" | 1:
            return True
        case False | "false" | "0" | 0:
            return False
        case _:
            raise ValueError


def _as_integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(value)


def _as_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


_CONVERT = {
    "string": _as_string,
    "boolean": _as_boolean,
    "integer": _as_integer,
    "json": _as_json,
}
