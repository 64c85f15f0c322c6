"""The Slack app's manifest: what the app is, what it may do, how Slack reaches it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal
from urllib.parse import quote, urlsplit

from bot.errors import ConfigError
from bot.names import COMMAND, is_command

Mode = Literal["socket", "http"]

Form = Literal["yaml", "json", "link"]

EVENTS_PATH = "/slack/events"
NEW_APP = "https://api.slack.com/apps?new_app=1&manifest_json="
"""Slack's form for a new app, filled in with the manifest that follows."""

SCOPES: Mapping[str, str] = {
    "app_mentions:read": "answer when it is mentioned in a thread",
    "channels:history": "answer replies in a deployment's thread, in public channels",
    "chat:write": "post and edit the live message, answer in its thread",
    "commands": "the slash command and the message actions",
    "files:write": "upload a full log into the thread",
    "groups:history": "answer replies in a deployment's thread, in private channels",
    "im:history": "answer direct messages",
    "mpim:history": "answer mentions and replies in group direct messages",
    "usergroups:read": "know who belongs to a user group listed in `deployers`",
    "users:read": "tell members of the workspace from its guests",
}
"""Bot scopes and what each is for. Nothing that the bot does not use."""

EVENTS = (
    "app_home_opened",
    "app_mention",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
)

Value = bool | int | str | Sequence[str] | Mapping[str, "Value"] | Sequence[Mapping[str, "Value"]]


def manifest(
    mode: Mode = "socket", url: str | None = None, command: str = COMMAND
) -> dict[str, Value]:
    """The manifest as data.

    Args:
        mode: `socket`: the bot calls Slack. `http`: Slack calls the bot.
        url: The bot's public address, for `http`.
        command: Name of the slash command.

    Raises: ConfigError when mode and url do not fit, or Slack would refuse the command's name.
    """
    request_url = _request_url(mode, url)
    if not is_command(command):
        raise ConfigError(
            "--command",
            "command line",
            "not a name that Slack gives a command",
            "Write a slash, then lower-case letters, digits, - or _, at most 32 characters: /ship.",
        )
    at = {} if request_url is None else {"request_url": request_url}
    # The choices of the form's branch and app fields are asked for while people type.
    options = {} if request_url is None else {"message_menu_options_url": request_url}
    slash: dict[str, Value] = {
        "command": command,
        "description": "Deploy an app to Dokku",
        "usage_hint": "myapp main",
        "should_escape": True,
    }
    if request_url is not None:
        slash["url"] = request_url
    return {
        "_metadata": {"major_version": 2, "minor_version": 1},
        "display_information": {
            "name": "deploybot",
            "description": "Deploys apps to Dokku and says what is live.",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "deploybot", "always_online": True},
            "shortcuts": [
                {
                    "name": "Deploy from message",
                    "type": "message",
                    "callback_id": "deploy_from_message",
                    "description": "Deploy the app and ref that a message names",
                },
                {
                    "name": "Deployment status",
                    "type": "message",
                    "callback_id": "deployment_status",
                    "description": "Say in the thread how this deployment is going",
                },
            ],
            "slash_commands": [slash],
        },
        "oauth_config": {"scopes": {"bot": sorted(SCOPES)}},
        "settings": {
            "event_subscriptions": {**at, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **at, **options},
            "org_deploy_enabled": False,
            "socket_mode_enabled": mode == "socket",
            "token_rotation_enabled": False,
        },
    }


def manifest_text(
    mode: Mode = "socket",
    url: str | None = None,
    command: str = COMMAND,
    form: Form = "yaml",
) -> str:
    """The manifest, ready to paste; or a link that fills it in. Raises: ConfigError."""
    data = manifest(mode, url, command)
    match form:
        case "yaml":
            return "\n".join(_yaml(data)) + "\n"
        case "json":
            return json.dumps(data, indent=2) + "\n"
        case "link":
            shortest = json.dumps(data, separators=(",", ":"))
            return f"{NEW_APP}{quote(shortest, safe='')}\n"


def _request_url(mode: Mode, url: str | None) -> str | None:
    if mode == "socket":
        if url is not None:
            raise ConfigError("--url", "command line", "only for --mode http", "Leave it out.")
        return None
    parts = urlsplit(url or "")
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigError(
            "--url",
            "command line",
            "missing" if url is None else "not an https address",
            "Give the bot's public address, e.g. --url https://deploybot.example.com.",
        )
    return (url or "").removesuffix("/").removesuffix(EVENTS_PATH) + EVENTS_PATH


_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_/ .-]*(:[A-Za-z0-9_/.-]+)*")
_WORDS_OF_YAML = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _scalar(value: bool | int | str) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML
        # A JSON string is a YAML string too.
        return value if plain and value == value.strip() else json.dumps(value)
    return json.dumps(value)


def _yaml(value: Value, indent: str = "") -> Iterator[str]:
    """The few forms that a manifest needs: mappings, lists of words, lists of mappings."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if isinstance(below, (bool, int, str)):
                yield f"{indent}{key}: {_scalar(below)}"
            else:
                yield f"{indent}{key}:"
                yield from _yaml(below, indent + "  ")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            if isinstance(item, str):
                yield f"{indent}- {_scalar(item)}"
            else:
                first, *rest = _yaml(item, indent + "  ")
                yield f"{indent}- {first.lstrip()}"
                yield from rest
