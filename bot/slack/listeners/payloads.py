"""Reads from Slack's requests who asked, where, and which delivery it is. Pure.

Bodies are untrusted JSON of five shapes (slash command, event, block action, view submission,
shortcut); what is missing reads as empty, never as an error.
Source: Slack docs, "Interaction payloads" and "Events API".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.deployments.model import Actor

Body = Mapping[str, Any]

UNKNOWN_TEAM = "unknown"
"""The team of a person in a shared channel whose workspace Slack did not name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """One person in one place, and how to answer there."""

    actor: Actor
    channel: str
    """Empty where Slack names none, as in a modal that was not opened from a channel."""
    thread_ts: str | None = None
    """The parent's ts, if the person is in a thread."""
    response_url: str | None = None
    """Accepts 5 answers within 30 minutes."""

    @property
    def direct(self) -> bool:
        """A direct message, usually between this person and the bot."""
        return self.channel.startswith("D")


def asker_of(body: Body) -> Asker:
    """Who asked, and where."""
    event = part(body, "event")
    if event:
        return Asker(
            actor=_author(body, event),
            channel=word(event, "channel"),
            thread_ts=word(event, "thread_ts") or None,
        )
    response_url = word(body, "response_url") or None
    if "command" in body:
        return Asker(
            actor=Actor(
                user=word(body, "user_id"),
                team=word(body, "team_id") or UNKNOWN_TEAM,
                name=word(body, "user_name") or None,
            ),
            channel=word(body, "channel_id"),
            response_url=response_url,
        )
    user = part(body, "user")
    team = word(user, "team_id") or word(part(body, "team"), "id") or UNKNOWN_TEAM
    name = word(user, "username") or word(user, "name") or None
    return Asker(
        actor=Actor(user=word(user, "id"), team=team, name=name),
        channel=word(part(body, "channel"), "id") or meta_of(body).get("channel", ""),
        thread_ts=word(part(body, "container"), "thread_ts") or None,
        response_url=response_url,
    )


def _author(body: Body, event: Body) -> Actor:
    """The author of an event. In a shared channel the envelope's team is not the author's."""
    team = word(event, "user_team") or word(event, "source_team") or word(event, "team")
    if not team:
        team = UNKNOWN_TEAM if body.get("is_ext_shared_channel") else word(body, "team_id")
    return Actor(user=word(event, "user"), team=team or UNKNOWN_TEAM)


def delivery_key(body: Body) -> str:
    """The same for every delivery of one request, and different for two requests.

    A chat message is identified by its place, because one with a mention arrives as two events.
    A `trigger_id` belongs to one request; a click is identified by Slack's timestamp.
    """
    event = part(body, "event")
    if event:
        if word(event, "type") in {"message", "app_mention"} and word(event, "ts"):
            return f"event:{word(event, 'channel')}:{word(event, 'ts')}"
        return f"event:{word(body, 'event_id')}"
    if "command" in body:
        return f"command:{word(body, 'trigger_id')}"
    view = part(body, "view")
    match word(body, "type"):
        case "block_actions":
            act = first_action(body)
            container = part(body, "container")
            place = word(container, "message_ts") or word(view, "id")
            parts = (place, word(act, "action_id"), word(part(body, "user"), "id"))
            return ":".join(("click", *parts, word(act, "action_ts")))
        case "view_submission":
            return f"view:{word(view, 'id')}:{word(view, 'hash')}"
        case kind:
            return f"{kind}:{word(body, 'trigger_id')}"


def first_action(body: Body) -> Body:
    """The element that was used; Slack sends one."""
    acts = body.get("actions")
    act = acts[0] if isinstance(acts, list) and acts else {}
    return act if isinstance(act, Mapping) else {}


def meta_of(body: Body) -> dict[str, str]:
    """A modal's private_metadata, as `write_meta` wrote it."""
    try:
        meta = json.loads(word(part(body, "view"), "private_metadata") or "{}")
    except ValueError:
        return {}
    if not isinstance(meta, dict):
        return {}
    return {str(key): value for key, value in meta.items() if isinstance(value, str)}


def write_meta(**facts: str | None) -> str:
    """A modal's private_metadata; Slack accepts 3,000 characters."""
    return json.dumps({key: value for key, value in facts.items() if value})


def part(body: Body, key: str) -> Body:
    """A nested object; empty where there is none."""
    inner = body.get(key)
    return inner if isinstance(inner, Mapping) else {}


def word(body: Body, key: str) -> str:
    """A text; empty where there is none."""
    value = body.get(key)
    return value if isinstance(value, str) else ""
