"""Users, channels, messages, files and views of a workspace; the errors of using them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Json = dict[str, Any]
ChannelKind = Literal["channel", "group", "im", "mpim"]


class ApiError(Exception):
    """The Web API refuses a call: `{"ok": false, "error": code}`."""

    def __init__(self, code: str, *, messages: Sequence[str] = (), **extra: Any) -> None:
        super().__init__(code)
        self.code = code
        self.messages = tuple(messages)
        self.extra = extra

    def to_json(self) -> dict[str, Any]:
        """Return Slack's error body; `messages` go into `response_metadata`."""
        body: dict[str, Any] = {"ok": False, "error": self.code, **self.extra}
        if self.messages:
            body["response_metadata"] = {"messages": list(self.messages)}
        return body


class NotPossible(Exception):
    """A user tried something that a Slack client does not offer: the test or page is wrong."""


@dataclass(frozen=True, kw_only=True)
class User:
    """A member, a bot user, or a user of another team in a shared channel."""

    id: str
    name: str
    real_name: str
    team_id: str
    is_bot: bool = False
    bot_id: str | None = None
    enterprise_id: str | None = None
    """The Enterprise Grid organization of their workspace."""
    guest: Literal["multi_channel", "single_channel"] | None = None
    deleted: bool = False

    def to_json(self) -> Json:
        """The user object of `users.info`."""
        shown: Json = {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "real_name": self.real_name,
            "deleted": self.deleted,
            "is_restricted": self.guest is not None,
            "is_ultra_restricted": self.guest == "single_channel",
            "is_stranger": False,
            "tz": "Etc/UTC",
            "tz_offset": 0,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "profile": {"display_name": self.name, "real_name": self.real_name},
        }
        if self.enterprise_id is not None:
            shown["enterprise_user"] = {
                "id": self.id,
                "enterprise_id": self.enterprise_id,
                "enterprise_name": "Simulated Org",
                "is_admin": False,
                "is_owner": False,
                "teams": [self.team_id],
            }
        return shown


@dataclass(kw_only=True)
class Channel:
    """A conversation. `members` are user ids; `im` channels have exactly two."""

    id: str
    name: str
    kind: ChannelKind
    members: set[str]
    is_archived: bool = False
    is_ext_shared: bool = False
    read_only: bool = False
    """Only admins may post: apps may not, but what they posted before stays editable."""
    threads: Literal["allowed", "only", "none"] = "allowed"
    """`only`: no top-level messages; `none`: no replies."""
    refuses_edits: str = "not_in_channel"
    """Error code for edits by a bot that is not a member of a public channel."""

    @property
    def is_private(self) -> bool:
        """Whether only members can see that it exists."""
        return self.kind != "channel"


@dataclass(frozen=True, kw_only=True)
class UserGroup:
    """A mentionable group of users (`S…`)."""

    id: str
    handle: str
    users: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """What a message showed from `at` on."""

    at: datetime
    text: str
    blocks: tuple[Json, ...]


@dataclass(kw_only=True)
class Message:
    """One message. Edits change this object, so it always shows the current content."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    bot_id: str | None = None
    thread_ts: str | None = None
    """The parent's `ts` when this is a reply."""
    reply_broadcast: bool = False
    metadata: Json | None = None
    file_ids: list[str] = field(default_factory=list)
    edited: bool = False
    deleted: bool = False
    locked: bool = False
    """An admin has locked its thread."""
    ephemeral_for: str | None = None
    """The only user who sees it; None for a normal message."""
    replies: list[str] = field(default_factory=list)
    parse: str = "none"
    history: list[Rendering] = field(default_factory=list)

    @property
    def plain(self) -> str:
        """All visible text, one line per piece: of the blocks, or else the text."""
        return "\n".join(visible_texts(self.blocks)) if self.blocks else self.text

    @property
    def buttons(self) -> dict[str, str]:
        """Label by `action_id` of the message's current buttons."""
        return {
            element["action_id"]: element["text"]["text"]
            for _, element in interactive_elements(self.blocks)
            if element["type"] == "button"
        }


@dataclass(kw_only=True)
class SlackFile:
    """An upload: first a ticket, then bytes, then shared."""

    id: str
    name: str
    length: int
    title: str = ""
    snippet_type: str | None = None
    content: bytes | None = None
    user: str = ""
    created_s: int = 0
    channels: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The content as text; invalid UTF-8 is replaced."""
        return (self.content or b"").decode("utf-8", errors="replace")

    def to_json(self) -> Json:
        """The file object inside messages and answers."""
        return {
            "id": self.id,
            "created": self.created_s,
            "timestamp": self.created_s,
            "name": self.name,
            "title": self.title or self.name,
            "mimetype": "text/plain",
            "filetype": self.snippet_type or "text",
            "pretty_type": "Plain Text",
            "user": self.user,
            "size": self.length,
            "mode": "snippet",
            "is_external": False,
            "channels": list(self.channels),
        }


@dataclass(kw_only=True)
class View:
    """A modal or a Home tab, with what the user has filled in so far."""

    id: str
    type: Literal["modal", "home"]
    user: str
    payload: Json
    """As the app sent it, with `block_id`s and `action_id`s filled in."""
    hash: str
    values: Json = field(default_factory=dict)
    """`{block_id: {action_id: value object}}`, the shape of `view.state.values`."""
    root_view_id: str
    previous_view_id: str | None = None
    errors: dict[str, str] = field(default_factory=dict)
    """By block id: the app's errors for the last submission."""

    @property
    def callback_id(self) -> str:
        """The app's name for this kind of view."""
        return str(self.payload.get("callback_id", ""))

    @property
    def blocks(self) -> list[Json]:
        """The current blocks."""
        blocks: list[Json] = self.payload["blocks"]
        return blocks

    @property
    def title(self) -> str:
        """The modal's title; empty for a Home tab."""
        return str(self.payload.get("title", {}).get("text", ""))

    @property
    def plain(self) -> str:
        """All visible text, one line per piece."""
        return "\n".join(visible_texts(self.blocks))

    @property
    def buttons(self) -> dict[str, str]:
        """Label by `action_id` of the view's current buttons."""
        return {
            element["action_id"]: element["text"]["text"]
            for _, element in interactive_elements(self.blocks)
            if element["type"] == "button"
        }


def visible_texts(node: Any) -> Iterator[str]:
    """Yield every visible piece of text of these blocks, in order."""
    if isinstance(node, list):
        for item in node:
            yield from visible_texts(item)
    elif isinstance(node, dict):
        if node.get("type") in {
            "rich_text_section",
            "rich_text_preformatted",
            "rich_text_quote",
        }:
            yield "".join(_INLINE[element["type"]](element) for element in node["elements"])
            return
        if isinstance(node.get("text"), str):
            yield node["text"]
        for key, value in node.items():
            if key not in {"confirm", "initial_option", "initial_options"}:
                yield from visible_texts(value)


_INLINE: Mapping[str, Callable[[Json], str]] = {
    "user": lambda part: f"<@{part['user_id']}>",
    "usergroup": lambda part: f"<!subteam^{part['usergroup_id']}>",
    "channel": lambda part: f"<#{part['channel_id']}>",
    "emoji": lambda part: f":{part['name']}:",
    "link": lambda part: str(part.get("text") or part["url"]),
    "date": lambda part: str(part.get("fallback") or part["format"]),
    "broadcast": lambda part: f"@{part['range']}",
    "text": lambda part: str(part["text"]),
}


def interactive_elements(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Yield (block, element) for every element that a user can operate."""
    for block in blocks:
        match block["type"]:
            case "actions":
                for element in block["elements"]:
                    yield block, element
            case "section" if "accessory" in block:
                yield block, block["accessory"]
            case "input":
                yield block, block["element"]
            case _:
                pass


def has_button(block: Json, action_id: str, value: str) -> bool:
    """Whether a block has this button, with this value."""
    return any(
        element["action_id"] == action_id and element.get("value") == value
        for _, element in interactive_elements([block])
    )
