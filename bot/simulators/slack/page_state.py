"""Everything the page shows, as one JSON object."""

from collections.abc import Sequence

from bot.simulators.slack.manifest import AppConfig
from bot.simulators.slack.model import Json, Message, View
from bot.simulators.slack.user_actions import Notice
from bot.simulators.slack.workspace import Workspace

_NEWEST = 200
_FILE_CHARACTERS = 400_000


def page_state(workspace: Workspace, app: AppConfig, notices: Sequence[Notice]) -> Json:
    """Return users, channels, the newest messages, ephemeral ones, open views and failures."""
    messages: dict[str, list[Json]] = {}
    for channel in workspace.channels.values():
        everything = [
            *workspace.messages(channel.id),
            *(m for m in workspace.ephemerals if m.channel == channel.id),
        ]
        everything.sort(key=lambda message: message.ts)
        messages[channel.id] = [_message(workspace, m) for m in everything[-_NEWEST:]]
    return {
        "team": {"id": workspace.team_id},
        "app": {
            "name": app.name,
            "bot": workspace.bot.id,
            "home_tab": app.home_tab,
            "commands": [
                {"command": c.command, "hint": c.usage_hint, "description": c.description}
                for c in app.commands.values()
            ],
            "shortcuts": [
                {"callback_id": s.callback_id, "name": s.name, "description": s.description}
                for s in app.shortcuts.values()
            ],
        },
        "users": {
            user.id: {
                "name": user.name,
                "real_name": user.real_name,
                "is_bot": user.is_bot,
                "own": user.team_id == workspace.team_id,
            }
            for user in workspace.users.values()
        },
        "groups": {group.id: group.handle for group in workspace.groups.values()},
        "channels": [
            {
                "id": channel.id,
                "name": channel.name,
                "kind": channel.kind,
                "members": sorted(channel.members),
                "archived": channel.is_archived,
            }
            for channel in workspace.channels.values()
        ],
        "messages": messages,
        "modals": {
            user_id: [_view(view) for view in stack] for user_id, stack in workspace.modals.items()
        },
        "homes": {user_id: _view(view) for user_id, view in workspace.homes.items()},
        "notices": [
            {"number": number, "user": notice.user, "text": notice.text}
            for number, notice in enumerate(notices)
        ][-20:],
    }


def _message(workspace: Workspace, message: Message) -> Json:
    return {
        "ts": message.ts,
        "user": message.user,
        "text": message.text,
        "blocks": message.blocks,
        "parse": message.parse,
        "thread_ts": message.thread_ts,
        "broadcast": message.reply_broadcast,
        "replies": len(message.replies),
        "reply_users": _reply_users(workspace, message),
        "edited": message.edited,
        "renderings": len(message.history),
        "ephemeral_for": message.ephemeral_for,
        "files": [
            {
                "name": file.name,
                "title": file.title,
                "size": file.length,
                "text": file.text[:_FILE_CHARACTERS],
            }
            for file in (workspace.files[file_id] for file_id in message.file_ids)
        ],
    }


def _reply_users(workspace: Workspace, message: Message) -> list[str]:
    found = (workspace.message(message.channel, ts) for ts in message.replies)
    return list(dict.fromkeys(reply.user for reply in found if reply is not None))


def _view(view: View) -> Json:
    return {
        "id": view.id,
        "hash": view.hash,
        "type": view.type,
        "title": view.title,
        "submit": (view.payload.get("submit") or {}).get("text"),
        "close": (view.payload.get("close") or {}).get("text"),
        "blocks": view.blocks,
        "values": view.values,
        "errors": view.errors,
    }
