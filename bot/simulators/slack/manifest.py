"""The installed app's manifest, read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

# docs.slack.dev/reference/events: an app may subscribe only with the matching scope.
EVENT_SCOPES: Mapping[str, str | None] = {
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "app_home_opened": None,
}


class ManifestError(Exception):
    """Slack would not accept this app manifest."""


@dataclass(frozen=True, kw_only=True)
class SlashCommand:
    """A command as the composer offers it."""

    command: str
    description: str
    usage_hint: str
    should_escape: bool


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """A message shortcut ("More message shortcuts…")."""

    name: str
    callback_id: str
    description: str


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """The installed app's configuration."""

    name: str
    bot_name: str
    commands: Mapping[str, SlashCommand]
    shortcuts: Mapping[str, Shortcut]
    """By callback id; message shortcuts only."""
    bot_events: frozenset[str]
    scopes: frozenset[str]
    interactive: bool
    options_url: str | None
    """Where external options are loaded from in HTTP mode."""
    home_tab: bool
    messages_tab: bool

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """Read an app manifest (the dict that its YAML or JSON gives).

        Raises ManifestError if Slack would refuse it, or if it asks for something that is not
        modelled here.
        """
        try:
            features = manifest["features"]
            settings = manifest["settings"]
            scopes = frozenset(manifest["oauth_config"]["scopes"]["bot"])
            name = str(manifest["display_information"]["name"])
            bot_name = str(features["bot_user"]["display_name"])
            commands = {c["command"]: _command(c) for c in features.get("slash_commands", ())}
            shortcuts = {s["callback_id"]: _shortcut(s) for s in features.get("shortcuts", ())}
        except (KeyError, TypeError) as error:
            raise ManifestError(f"the manifest lacks {error}") from error
        events = frozenset(settings.get("event_subscriptions", {}).get("bot_events", ()))
        interactivity = settings.get("interactivity", {})
        interactive = bool(interactivity.get("is_enabled", False))
        home = features.get("app_home", {})
        for event in sorted(events):
            if event not in EVENT_SCOPES:
                raise ManifestError(f"bot event {event} is not modelled")
            needed = EVENT_SCOPES[event]
            if needed is not None and needed not in scopes:
                raise ManifestError(f"bot event {event} needs the scope {needed}")
        if (commands or shortcuts) and "commands" not in scopes:
            raise ManifestError("slash commands and shortcuts need the scope commands")
        if shortcuts and not interactive:
            raise ManifestError("shortcuts need interactivity")
        return cls(
            name=name,
            bot_name=bot_name,
            commands=commands,
            shortcuts=shortcuts,
            bot_events=events,
            scopes=scopes,
            interactive=interactive,
            options_url=interactivity.get("message_menu_options_url"),
            home_tab=bool(home.get("home_tab_enabled", False)),
            messages_tab=bool(home.get("messages_tab_enabled", True)),
        )


def _command(entry: Mapping[str, Any]) -> SlashCommand:
    command = str(entry["command"])
    if not command.startswith("/") or " " in command:
        raise ManifestError(f"{command!r} is not a slash command")
    return SlashCommand(
        command=command,
        description=str(entry["description"]),
        usage_hint=str(entry.get("usage_hint", "")),
        should_escape=bool(entry.get("should_escape", False)),
    )


def _shortcut(entry: Mapping[str, Any]) -> Shortcut:
    if entry["type"] != "message":
        raise ManifestError(f"shortcut type {entry['type']!r} is not modelled")
    return Shortcut(
        name=str(entry["name"]),
        callback_id=str(entry["callback_id"]),
        description=str(entry["description"]),
    )
