"""`files.*`: the three steps of an upload (ticket, bytes, share)."""

from collections.abc import Mapping
from typing import Any

from bot.simulators.slack.methods.chat import Chat
from bot.simulators.slack.methods.method import Method
from bot.simulators.slack.model import ApiError, Json, Message, SlackFile
from bot.simulators.slack.workspace import Workspace

SNIPPET_BYTES = 1_000_000


class Files:
    """The methods of `files.*`, and the upload address."""

    def __init__(self, *, workspace: Workspace, chat: Chat, base_url: str) -> None:
        self._workspace = workspace
        self._chat = chat
        self._base_url = base_url
        self._tickets: dict[str, SlackFile] = {}

    def methods(self) -> Mapping[str, Method]:
        """Return the methods by name."""
        return {
            "files.getUploadURLExternal": Method(
                handler=self._get_upload_url,
                arguments={"filename": "string", "length": "integer", "snippet_type": "string"},
                required=("filename", "length"),
                scopes=("files:write",),
                tier=4,
            ),
            "files.completeUploadExternal": Method(
                handler=self._complete,
                arguments={
                    "files": "json",
                    "channel_id": "string",
                    "thread_ts": "string",
                    "initial_comment": "string",
                },
                required=("files",),
                scopes=("files:write",),
                tier=4,
            ),
        }

    def _get_upload_url(self, args: Json) -> Json:
        """files.getUploadURLExternal."""
        if not self._workspace.uploads:
            raise ApiError("file_uploads_disabled")
        if args["length"] < 1:
            raise ApiError("missing_argument")
        if "snippet_type" in args and args["length"] > SNIPPET_BYTES:
            raise ApiError("snippet_too_large")
        file = SlackFile(
            id=self._workspace.new_id("F"),
            name=args["filename"],
            length=args["length"],
            snippet_type=args.get("snippet_type"),
            user=self._workspace.bot.id,
            created_s=int(self._workspace.clock.now_s()),
        )
        ticket = self._workspace.new_id("Ticket")
        self._tickets[ticket] = file
        return {
            "ok": True,
            "upload_url": f"{self._base_url}upload/v1/{ticket}",
            "file_id": file.id,
        }

    def receive(self, ticket: str, content: bytes) -> int:
        """Store the bytes and return their number. Raises ApiError for a bad ticket or length."""
        file = self._tickets.pop(ticket, None)
        if file is None:
            raise ApiError("invalid_ticket")
        if len(content) != file.length:
            raise ApiError("length_mismatch")
        file.content = content
        self._workspace.files[file.id] = file
        return len(content)

    def _complete(self, args: Json) -> Json:
        """files.completeUploadExternal: one message with all files; none without a channel."""
        files = [self._named(entry) for entry in _entries(args["files"])]
        if "channel_id" in args:
            channel = self._chat.channel_to_post(args["channel_id"], public_scope=False)
            thread_ts = args.get("thread_ts")
            if thread_ts is not None and not self._workspace.has_thread(channel.id, thread_ts):
                raise ApiError("thread_not_found")
            if self._workspace.forbids(channel, thread_ts):
                raise ApiError("posting_to_channel_denied")
            for file in files:
                file.channels.append(channel.id)
            self._workspace.post(
                Message(
                    channel=channel.id,
                    ts=self._workspace.clock.next_ts(),
                    user=self._workspace.bot.id,
                    bot_id=self._workspace.bot.bot_id,
                    text=args.get("initial_comment", ""),
                    thread_ts=thread_ts,
                    file_ids=[file.id for file in files],
                )
            )
        return {"ok": True, "files": [{"id": file.id, "title": file.title} for file in files]}

    def _named(self, entry: Json) -> SlackFile:
        file = self._workspace.files.get(entry["id"])
        if file is None or file.channels:
            raise ApiError("file_not_found")
        file.title = entry.get("title", file.name)
        return file


def _entries(value: Any) -> list[Json]:
    if not isinstance(value, list) or not value:
        raise ApiError("invalid_arguments", messages=["[ERROR] files must be a non-empty array"])
    for entry in value:
        extra = set(entry) - {"id", "title"} if isinstance(entry, dict) else {"?"}
        if extra or "id" not in entry:
            raise ApiError(
                "invalid_arguments",
                messages=[f"[ERROR] files: not modelled or incomplete: {sorted(extra)}"],
            )
    return value
