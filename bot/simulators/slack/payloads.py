"""The bodies of commands and interactions, in the shapes that Slack sends.

Sources: docs.slack.dev/reference/interaction-payloads; Bolt's own scenario tests.
"""

from bot.simulators.slack.json_objects import message_json, view_json
from bot.simulators.slack.model import Channel, Json, Message, User, View
from bot.simulators.slack.user_input import initial_values
from bot.simulators.slack.workspace import Workspace

VERIFICATION_TOKEN = "simulated-verification-token"
_PUBLIC_NAMES = {"im": "directmessage", "group": "privategroup"}


def channel_name(channel: Channel) -> str:
    """The channel name that apps get: private conversations only get a generic one."""
    return _PUBLIC_NAMES.get(channel.kind, channel.name)


def slash_command(
    workspace: Workspace,
    user: User,
    channel: Channel,
    command: str,
    text: str,
    *,
    trigger_id: str,
    response_url: str,
) -> Json:
    """The form of a slash command; it never has a `thread_ts`."""
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": user.team_id,
        "team_domain": workspace.team_domain,
        **_organization(user),
        "channel_id": channel.id,
        "channel_name": channel_name(channel),
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": workspace.app_id,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger_id,
    }


def _organization(user: User) -> Json:
    if user.enterprise_id is None:
        return {}
    return {"enterprise_id": user.enterprise_id, "enterprise_name": "Simulated Org"}


def _common(workspace: Workspace, user: User, kind: str) -> Json:
    org = _organization(user)
    # In an organization, the workspace is the one that the user acts in.
    team = {"id": user.team_id if org else workspace.team_id, "domain": workspace.team_domain}
    return {
        "type": kind,
        "user": {
            "id": user.id,
            "username": user.name,
            "name": user.name,
            "team_id": user.team_id,
        },
        "api_app_id": workspace.app_id,
        "token": VERIFICATION_TOKEN,
        "team": team | org,
        "enterprise": {"id": user.enterprise_id, "name": "Simulated Org"} if org else None,
        "is_enterprise_install": False,
    }


def message_action_click(
    workspace: Workspace,
    user: User,
    message: Message,
    action: Json,
    *,
    shown: list[Json],
    trigger_id: str,
    response_url: str,
) -> Json:
    """`block_actions` from a message; `shown` are the blocks that the user saw."""
    channel = workspace.channels[message.channel]
    ephemeral = message.ephemeral_for is not None
    container: Json = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel.id,
        "is_ephemeral": ephemeral,
    }
    if message.thread_ts is not None:
        container["thread_ts"] = message.thread_ts
    payload = {
        **_common(workspace, user, "block_actions"),
        "container": container,
        "trigger_id": trigger_id,
        "channel": {"id": channel.id, "name": channel_name(channel)},
        "state": {"values": initial_values(shown)},
        "response_url": response_url,
        "actions": [action],
    }
    if not ephemeral:
        # Slack does not send an ephemeral message back; the app has to remember it.
        payload["message"] = {**message_json(workspace, message), "blocks": shown}
    return payload


def view_action_click(
    workspace: Workspace, user: User, view: View, action: Json, *, trigger_id: str
) -> Json:
    """`block_actions` from a modal or a Home tab."""
    return {
        **_common(workspace, user, "block_actions"),
        "container": {"type": "view", "view_id": view.id},
        "trigger_id": trigger_id,
        "view": view_json(workspace, view),
        "actions": [action],
    }


def block_suggestion(
    workspace: Workspace, user: User, view: View, block_id: str, action_id: str, typed: str
) -> Json:
    """A user opened a list of external options, or typed into it. It carries no trigger."""
    common = _common(workspace, user, "block_suggestion")
    return {
        **common,
        "container": {"type": "view", "view_id": view.id},
        "action_id": action_id,
        "block_id": block_id,
        "value": typed,
        "view": view_json(workspace, view),
    }


def view_submission(workspace: Workspace, user: User, view: View, *, trigger_id: str) -> Json:
    """A user pressed the modal's submit button."""
    return {
        **_common(workspace, user, "view_submission"),
        "trigger_id": trigger_id,
        "view": view_json(workspace, view),
        "response_urls": [],
    }


def view_closed(workspace: Workspace, user: User, view: View, *, is_cleared: bool) -> Json:
    """A user closed a modal with `notify_on_close`."""
    return {
        **_common(workspace, user, "view_closed"),
        "view": view_json(workspace, view),
        "is_cleared": is_cleared,
    }


def message_shortcut(
    workspace: Workspace,
    user: User,
    message: Message,
    callback_id: str,
    *,
    trigger_id: str,
    response_url: str,
) -> Json:
    """`message_action`: a shortcut in a message's menu. Bot messages have no `user` in it."""
    channel = workspace.channels[message.channel]
    shown = message_json(workspace, message)
    if message.bot_id is not None:
        shown.pop("user")
    return {
        **_common(workspace, user, "message_action"),
        "action_ts": workspace.clock.next_ts(),
        "callback_id": callback_id,
        "trigger_id": trigger_id,
        "response_url": response_url,
        "channel": {"id": channel.id, "name": channel_name(channel)},
        "message_ts": message.ts,
        "message": shown,
    }
