"""`chat.*`: posting, editing, deleting, and ephemeral messages."""

import json
from collections.abc import Mapping
from typing import Any

from bot.simulators.slack import validation
from bot.simulators.slack.json_objects import message_json
from bot.simulators.slack.methods.method import Method
from bot.simulators.slack.model import ApiError, Channel, Json, Message
from bot.simulators.slack.workspace import Workspace


class Chat:
    """The methods of `chat.*`."""

    def __init__(self, *, workspace: Workspace, scopes: frozenset[str], page_url: str) -> None:
        self._workspace = workspace
        self._scopes = scopes
        self._page_url = page_url

    def methods(self) -> Mapping[str, Method]:
        """Return the methods by name."""
        return {
            "chat.postMessage": Method(
                handler=self._post_message,
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
                handler=self._update,
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
                handler=self._delete,
                arguments={"channel": "string", "ts": "string"},
                required=("channel", "ts"),
                scopes=("chat:write",),
                tier=3,
            ),
            "chat.postEphemeral": Method(
                handler=self._post_ephemeral,
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
                handler=self._get_permalink,
                arguments={"channel": "string", "message_ts": "string"},
                required=("channel", "message_ts"),
            ),
        }

    def _post_message(self, args: Json) -> Json:
        """chat.postMessage."""
        channel = self.channel_to_post(args["channel"], public_scope=True)
        text, blocks = self._content(args)
        thread_ts = args.get("thread_ts")
        self._check_thread(channel, thread_ts)
        if forbidden := self._workspace.forbids(channel, thread_ts):
            raise ApiError(forbidden)
        metadata = validation.check_metadata(args["metadata"]) if "metadata" in args else None
        message = self._workspace.post(
            Message(
                channel=channel.id,
                ts=self._workspace.clock.next_ts(),
                user=self._workspace.bot.id,
                bot_id=self._workspace.bot.bot_id,
                text=text[: validation.POST_TEXT],
                blocks=blocks or [],
                thread_ts=thread_ts,
                reply_broadcast=args.get("reply_broadcast", False),
                metadata=metadata,
                parse=args.get("parse", "none"),
            )
        )
        answer: Json = {
            "ok": True,
            "channel": channel.id,
            "ts": message.ts,
            "message": message_json(self._workspace, message, include_metadata=True),
        }
        if len(text) > validation.POST_TEXT:
            answer["warning"] = "message_truncated"
            answer["response_metadata"] = {"warnings": ["message_truncated"]}
        return answer

    def _update(self, args: Json) -> Json:
        """chat.update: text without blocks removes the blocks; other omitted arguments are kept."""
        channel = self._visible(args["channel"])
        if channel.is_archived:
            raise ApiError("is_inactive")
        if self._workspace.bot.id not in channel.members:
            raise ApiError(channel.refuses_edits)
        message = self._workspace.message(channel.id, args["ts"])
        if message is None:
            raise ApiError("message_not_found")
        if message.user != self._workspace.bot.id:
            raise ApiError("cant_update_message")
        if len(args.get("text", "")) > validation.UPDATE_TEXT:
            raise ApiError("msg_too_long")
        text, blocks = self._content(args)
        if message.blocks and not message.file_ids:
            self._check_block_mismatch(message.blocks, blocks)
        before = self.snapshot(message)
        message.text = text
        message.blocks = blocks or []
        message.edited = message.edited or not blocks
        message.parse = args.get("parse", "client")
        if "metadata" in args:
            message.metadata = validation.check_metadata(args["metadata"])
        self._workspace.edit(message, before)
        return {
            "ok": True,
            "channel": channel.id,
            "ts": message.ts,
            "text": message.text,
            "message": message_json(self._workspace, message, include_metadata=True),
        }

    def _delete(self, args: Json) -> Json:
        """chat.delete."""
        channel = self._visible(args["channel"])
        message = self._workspace.message(channel.id, args["ts"])
        if message is None:
            raise ApiError("message_not_found")
        if message.user != self._workspace.bot.id:
            raise ApiError("cant_delete_message")
        self._workspace.delete(message, self.snapshot(message))
        return {"ok": True, "channel": channel.id, "ts": message.ts}

    def _post_ephemeral(self, args: Json) -> Json:
        """chat.postEphemeral; in a thread without replies nobody sees it, yet Slack answers ok."""
        channel = self.channel_to_post(args["channel"], public_scope=False)
        if args["user"] not in self._workspace.users:
            raise ApiError("user_not_found")
        if args["user"] not in channel.members:
            raise ApiError("user_not_in_channel")
        text, blocks = self._content(args)
        thread_ts = args.get("thread_ts")
        self._check_thread(channel, thread_ts)
        if self._workspace.forbids(channel, thread_ts):
            raise ApiError("restricted_action")  # the only code that this method documents
        ts = self._workspace.clock.next_ts()
        parent = self._workspace.message(channel.id, thread_ts) if thread_ts else None
        if thread_ts is None or (parent is not None and parent.replies):
            self._workspace.post(
                Message(
                    channel=channel.id,
                    ts=ts,
                    user=self._workspace.bot.id,
                    bot_id=self._workspace.bot.bot_id,
                    text=text,
                    blocks=blocks or [],
                    thread_ts=thread_ts,
                    ephemeral_for=args["user"],
                    parse=args.get("parse", "none"),
                )
            )
        else:
            self._workspace.changes.add("unseen_ephemeral", f"{channel.id} {thread_ts} {text!r}")
        return {"ok": True, "message_ts": ts}

    def _get_permalink(self, args: Json) -> Json:
        """chat.getPermalink; the link opens the page at that message."""
        channel = self._visible(args["channel"])
        message = self._workspace.message(channel.id, args["message_ts"])
        if message is None:
            raise ApiError("message_not_found")
        link = f"{self._page_url}archives/{channel.id}/p{message.ts.replace('.', '')}"
        if message.thread_ts is not None:
            link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
        return {"ok": True, "channel": channel.id, "permalink": link}

    def channel_to_post(self, channel_id: str, *, public_scope: bool) -> Channel:
        """Return the conversation if the bot may post there; a user id means the DM with that user.

        Raises: ApiError channel_not_found, not_in_channel, is_archived, messages_tab_disabled.
        """
        direct = self._workspace.direct_channel(channel_id)
        channel = direct or self._visible(channel_id)
        if channel.kind == "im" and not self._workspace.messages_tab:
            raise ApiError("messages_tab_disabled")
        if channel.is_archived:
            raise ApiError("is_archived")
        if self._workspace.bot.id not in channel.members and not (
            public_scope and "chat:write.public" in self._scopes
        ):
            raise ApiError("not_in_channel")
        return channel

    def snapshot(self, message: Message) -> Json:
        """Return a copy of the message's current JSON."""
        copy: Json = json.loads(
            json.dumps(message_json(self._workspace, message, include_metadata=True))
        )
        return copy

    def _visible(self, channel_id: str) -> Channel:
        channel = self._workspace.channels.get(channel_id)
        if channel is None or (
            channel.is_private and self._workspace.bot.id not in channel.members
        ):
            raise ApiError("channel_not_found")
        return channel

    def _check_thread(self, channel: Channel, thread_ts: str | None) -> None:
        if thread_ts is not None and not self._workspace.has_thread(channel.id, thread_ts):
            raise ApiError("thread_not_found")

    @staticmethod
    def _content(args: Json) -> tuple[str, list[Json] | None]:
        if args.get("parse", "none") not in {"none", "full", "client"}:
            raise ApiError("invalid_arguments", messages=["[ERROR] parse must be none or full"])
        raw: Any = args.get("blocks")
        blocks = None if raw is None else validation.check_message_blocks(raw)
        text = args.get("text", "")
        if not text and not blocks:
            raise ApiError("no_text")
        return text, blocks

    @staticmethod
    def _check_block_mismatch(old: list[Json], new: list[Json] | None) -> None:
        # Slack does not let an edit turn a message of only rich text into one without any.
        if (
            new
            and all(block["type"] == "rich_text" for block in old)
            and not any(block["type"] == "rich_text" for block in new)
        ):
            raise ApiError("block_mismatch")
