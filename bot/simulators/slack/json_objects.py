"""Slack's JSON of messages, channels and views."""

from typing import Any

from bot.simulators.slack.model import Channel, Json, Message, View
from bot.simulators.slack.workspace import Workspace


def message_json(workspace: Workspace, message: Message, *, include_metadata: bool = False) -> Json:
    """The message object in answers, events and interactions."""
    author = workspace.users[message.user]
    shown: Json = {
        "type": "message",
        "user": message.user,
        "ts": message.ts,
        "text": message.text,
        "team": author.team_id,
    }
    if message.bot_id is not None:
        shown |= {
            "bot_id": message.bot_id,
            "app_id": workspace.app_id,
            "bot_profile": bot_json(workspace),
        }
    if message.blocks:
        shown["blocks"] = message.blocks
    if message.file_ids:
        shown |= {
            "files": [workspace.files[file_id].to_json() for file_id in message.file_ids],
            "upload": False,
        }
    if message.edited:
        shown["edited"] = {"user": message.user, "ts": f"{int(workspace.clock.now_s())}.000000"}
    if message.thread_ts is not None:
        shown |= {"thread_ts": message.thread_ts, "parent_user_id": _parent(workspace, message)}
    elif message.replies:
        replies = [m for ts in message.replies if (m := workspace.message(message.channel, ts))]
        shown |= {
            "thread_ts": message.ts,
            "reply_count": len(replies),
            "reply_users": sorted({reply.user for reply in replies}),
            "reply_users_count": len({reply.user for reply in replies}),
            "latest_reply": replies[-1].ts if replies else message.ts,
            "is_locked": False,
            "subscribed": False,
        }
    if message.metadata is not None:
        # Without include_all_metadata Slack shows the type and leaves the payload out.
        shown["metadata"] = (
            message.metadata if include_metadata else {"event_type": message.metadata["event_type"]}
        )
    return shown


def _parent(workspace: Workspace, message: Message) -> str | None:
    parent = workspace.message(message.channel, message.thread_ts or "")
    return None if parent is None else parent.user


def bot_json(workspace: Workspace) -> Json:
    """The bot's profile."""
    return {
        "id": workspace.bot.bot_id,
        "app_id": workspace.app_id,
        "user_id": workspace.bot.id,
        "name": workspace.app_name,
        "deleted": False,
        "updated": 1_700_000_000,
        "team_id": workspace.team_id,
        "icons": {},
    }


def channel_json(workspace: Workspace, channel: Channel) -> Json:
    """The conversation object."""
    shown: Json = {
        "id": channel.id,
        "created": 1_700_000_000,
        "is_archived": channel.is_archived,
        "is_channel": channel.kind == "channel",
        "is_group": channel.kind == "group",
        "is_im": channel.kind == "im",
        "is_mpim": channel.kind == "mpim",
        "is_private": channel.is_private,
        "is_ext_shared": channel.is_ext_shared,
        "context_team_id": workspace.team_id,
    }
    if channel.kind == "im":
        other = min(channel.members - {workspace.bot.id})
        return {**shown, "user": other, "is_open": True}
    return {
        **shown,
        "name": channel.name,
        "name_normalized": channel.name,
        "is_member": workspace.bot.id in channel.members,
    }


def view_json(workspace: Workspace, view: View) -> Json:
    """The view object in answers and interactions."""
    shown: Json = {
        "id": view.id,
        "team_id": workspace.team_id,
        "type": view.type,
        "blocks": view.blocks,
        "private_metadata": view.payload.get("private_metadata", ""),
        "callback_id": view.payload.get("callback_id", ""),
        "external_id": view.payload.get("external_id", ""),
        "state": {"values": view.values},
        "hash": view.hash,
        "root_view_id": view.root_view_id,
        "previous_view_id": view.previous_view_id,
        "app_id": workspace.app_id,
        "app_installed_team_id": workspace.team_id,
        "bot_id": workspace.bot.bot_id,
    }
    if view.type == "home":
        return shown
    parts: dict[str, Any] = {key: view.payload.get(key) for key in ("title", "close", "submit")}
    flags = {key: view.payload.get(key, False) for key in ("clear_on_close", "notify_on_close")}
    return {**shown, **parts, **flags}
