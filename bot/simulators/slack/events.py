"""The Events API: which changes the app receives, and their payloads."""

import uuid
from dataclasses import dataclass

from bot.simulators.slack.delivery import Delivery
from bot.simulators.slack.json_objects import message_json, view_json
from bot.simulators.slack.manifest import AppConfig
from bot.simulators.slack.model import Channel, Json, Message
from bot.simulators.slack.workspace import MessageChange, Workspace

_SUBSCRIPTION = {
    "channel": "message.channels",
    "group": "message.groups",
    "im": "message.im",
    "mpim": "message.mpim",
}


@dataclass(frozen=True, kw_only=True)
class EventPublisher:
    """Turns changes of the workspace into event callbacks."""

    workspace: Workspace
    app: AppConfig
    delivery: Delivery

    def message_changed(self, change: MessageChange, message: Message, before: Json | None) -> None:
        """Send a change to the app, if it is a member and has subscribed. A workspace hook."""
        channel = self.workspace.channels[message.channel]
        if self.workspace.bot.id not in channel.members:
            return
        if _SUBSCRIPTION[channel.kind] in self.app.bot_events:
            self._publish(self._message_event(change, message, channel, before), channel)
        # A mention arrives a second time as app_mention, with another event id.
        if (
            change == "posted"
            and channel.kind not in {"im", "mpim"}
            and message.user != self.workspace.bot.id
            and f"<@{self.workspace.bot.id}>" in message.text
            and "app_mention" in self.app.bot_events
        ):
            event = self._posted(message, channel) | {"type": "app_mention"}
            event.pop("channel_type")
            self._publish(event, channel)

    def channel_event(self, channel: Channel, subtype: str, user: str) -> None:
        """Someone joined or unarchived a channel: a message that no page shows here."""
        if _SUBSCRIPTION[channel.kind] not in self.app.bot_events:
            return
        ts = self.workspace.clock.next_ts()
        event: Json = {
            "type": "message",
            "subtype": subtype,
            "user": user,
            "text": f"<@{user}> {subtype}",
            "channel": channel.id,
            "ts": ts,
            "event_ts": ts,
            "channel_type": channel.kind,
        }
        self._publish(event, channel)

    def home_opened(self, user: str, tab: str) -> None:
        """A user opened the app: its Home tab, or its messages."""
        if "app_home_opened" not in self.app.bot_events:
            return
        channel = self.workspace.direct_channel(user)
        event: Json = {
            "type": "app_home_opened",
            "user": user,
            "channel": None if channel is None else channel.id,
            "tab": tab,
            "event_ts": self.workspace.clock.next_ts(),
        }
        if tab == "home" and (view := self.workspace.homes.get(user)) is not None:
            event["view"] = view_json(self.workspace, view)
        self._publish(event, channel)

    def _message_event(
        self, change: MessageChange, message: Message, channel: Channel, before: Json | None
    ) -> Json:
        match change:
            case "posted":
                return self._posted(message, channel)
            case "edited":
                changed: Json = {
                    "subtype": "message_changed",
                    "message": message_json(self.workspace, message, include_metadata=True),
                    "previous_message": before,
                }
            case "deleted":
                changed = {
                    "subtype": "message_deleted",
                    "deleted_ts": message.ts,
                    "previous_message": before,
                }
        ts = self.workspace.clock.next_ts()
        return {
            "type": "message",
            "hidden": True,
            "channel": channel.id,
            "ts": ts,
            "event_ts": ts,
            "channel_type": channel.kind,
            **changed,
        }

    def _posted(self, message: Message, channel: Channel) -> Json:
        event = message_json(self.workspace, message, include_metadata=True)
        event |= {
            "channel": channel.id,
            "event_ts": message.ts,
            "channel_type": channel.kind,
        }
        author = self.workspace.users[message.user]
        if author.team_id != self.workspace.team_id:
            event |= {"user_team": author.team_id, "source_team": author.team_id}
        if message.file_ids:
            event["subtype"] = "file_share"
        elif message.reply_broadcast:
            event["subtype"] = "thread_broadcast"
        return event

    def _publish(self, event: Json, channel: Channel | None) -> None:
        self.delivery.publish(
            {
                "token": "simulated-verification-token",
                "team_id": self.workspace.team_id,
                "context_team_id": self.workspace.team_id,
                "enterprise_id": self.workspace.enterprise_id,
                "context_enterprise_id": self.workspace.enterprise_id,
                "api_app_id": self.workspace.app_id,
                "event": event,
                "type": "event_callback",
                "event_id": f"Ev{uuid.uuid4().hex[:12].upper()}",
                "event_time": int(self.workspace.clock.now_s()),
                "authorizations": [
                    {
                        "enterprise_id": self.workspace.enterprise_id,
                        "team_id": self.workspace.team_id,
                        "user_id": self.workspace.bot.id,
                        "is_bot": True,
                        "is_enterprise_install": False,
                    }
                ],
                "is_ext_shared_channel": channel is not None and channel.is_ext_shared,
                "event_context": f"4-{uuid.uuid4().hex}",
            }
        )
