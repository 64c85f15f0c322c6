"""The things a workspace is made of, in Slack's own words and shapes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Json = dict[str, Any]
ChannelKind = Literal["channel", "group", "im"]


@dataclass(frozen=True, kw_only=True)
class User:
    """A member, a bot user, or somebody of another team in a shared channel."""

    id: str
    name: str
    real_name: str
    team_id: str
    is_bot: bool = False
    bot_id: str | None = None

    def to_json(self) -> Json:
        """The user object of `users.info`."""
        return {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "real_name": self.real_name,
            "deleted": False,
            "tz": "Etc/UTC",
            "tz_offset": 0,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "profile": {"display_name": self.name, "real_name": self.real_name},
        }


@dataclass(kw_only=True)
class Channel:
    """A conversation. `members` are user ids; `im` channels have exactly two."""

    id: str
    name: str
    kind: ChannelKind
    members: set[str]
    is_archived: bool = False
    is_ext_shared: bool = False

    @property
    def is_private(self) -> bool:
        """Whether people outside cannot even see that it exists."""
        return self.kind != "channel"


@dataclass(frozen=True, kw_only=True)
class UserGroup:
    """A mentionable group of people (`S…`)."""

    id: str
    handle: str
    users: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How a message looked from `at` on."""

    at: datetime
    text: str
    blocks: tuple[Json, ...]


@dataclass(kw_only=True)
class Message:
    """One message; the object stays the same while it is edited, so it always shows what is now."""

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
    ephemeral_for: str | None = None
    """The only person who sees it; None for a real message."""
    replies: list[str] = field(default_factory=list)
    parse: str = "none"
    history: list[Rendering] = field(default_factory=list)

    @property
    def plain(self) -> str:
        """All that a reader sees, one line per piece: of the blocks, or else of the text."""
        return "\n".join(visible_texts(self.blocks)) if self.blocks else self.text

    @property
    def buttons(self) -> dict[str, str]:
        """Label by `action_id` of the buttons now in the message."""
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
        """The content as text; bytes that are no UTF-8 are replaced."""
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
    """A modal or a Home tab, with what the person has filled in so far."""

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
    """By block id: what the app said against the last submission."""

    @property
    def callback_id(self) -> str:
        """The app's name for this kind of view."""
        return str(self.payload.get("callback_id", ""))

    @property
    def blocks(self) -> list[Json]:
        """The blocks as they are shown now."""
        blocks: list[Json] = self.payload["blocks"]
        return blocks

    @property
    def title(self) -> str:
        """The modal's title; empty on Home tabs."""
        return str(self.payload.get("title", {}).get("text", ""))

    @property
    def plain(self) -> str:
        """All that a reader sees, one line per piece."""
        return "\n".join(visible_texts(self.blocks))

    @property
    def buttons(self) -> dict[str, str]:
        """Label by `action_id` of the buttons now in the view."""
        return {
            element["action_id"]: element["text"]["text"]
            for _, element in interactive_elements(self.blocks)
            if element["type"] == "button"
        }


def visible_texts(node: Any) -> Iterator[str]:
    """Every piece of text that a reader of these blocks sees, in their order."""
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
    """Pairs of (block, element) of all that a person can operate."""
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
