"""Answers without the Web API: response URLs, and bodies sent with an ack."""

import json
from typing import Any

from aiohttp import web

from bot.simulators.slack import validation
from bot.simulators.slack.interaction_tokens import InteractionTokens, ResponseUrl
from bot.simulators.slack.methods.chat import Chat
from bot.simulators.slack.model import ApiError, Json, Message
from bot.simulators.slack.workspace import Workspace

_KNOWN = {
    "text",
    "blocks",
    "response_type",
    "replace_original",
    "delete_original",
    "thread_ts",
    "unfurl_links",
    "unfurl_media",
    "metadata",
}


class Responses:
    """Turns such answers into messages and ephemeral messages."""

    def __init__(self, *, workspace: Workspace, tokens: InteractionTokens, chat: Chat) -> None:
        self._workspace = workspace
        self._tokens = tokens
        self._chat = chat

    async def handle(self, request: web.Request) -> web.Response:
        """Answer `POST /response/TOKEN`."""
        try:
            url = self._tokens.use_response_url(request.match_info["token"])
        except ApiError as error:
            return web.json_response(error.to_json(), status=404)
        try:
            body = json.loads(await request.read())
            self.answer(url, body)
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        except ApiError as error:
            self._workspace.changes.add("response_refused", f"{error.code} {error.messages}")
            return web.json_response(error.to_json(), status=400)
        return web.Response(text="ok")

    def answer(self, url: ResponseUrl, body: Any) -> None:
        """Post the app's answer. Raises ApiError if Slack would refuse it."""
        if not isinstance(body, dict):
            raise ApiError("invalid_payload")
        if unknown := sorted(set(body) - _KNOWN):
            raise ApiError(
                "invalid_arguments", messages=[f"[ERROR] not modelled: {', '.join(unknown)}"]
            )
        original = url.message
        if original is not None and original.deleted:
            original = None
        if body.get("delete_original"):
            if set(body) != {"delete_original"}:
                raise ApiError(
                    "invalid_payload", messages=["[ERROR] delete_original with other fields"]
                )
            if original is not None:
                self._workspace.delete(original, self._chat.snapshot(original))
            return
        blocks = validation.check_message_blocks(body["blocks"]) if body.get("blocks") else []
        text = body.get("text", "")
        if not text and not blocks:
            raise ApiError("no_text")
        if body.get("replace_original") and original is not None:
            before = self._chat.snapshot(original)
            original.text, original.blocks = text, blocks
            self._workspace.edit(original, before)
            return
        self._post(url, body, text, blocks)

    def command_ack(self, url: ResponseUrl, response: Json | str | None) -> None:
        """Post what came with the ack of a slash command."""
        if isinstance(response, str):
            response = {"text": response}
        if response:
            self.answer(url, response)

    def _post(self, url: ResponseUrl, body: Json, text: str, blocks: list[Json]) -> None:
        response_type = body.get("response_type", "ephemeral")
        if response_type not in {"ephemeral", "in_channel"}:
            raise ApiError("invalid_payload", messages=["[ERROR] response_type"])
        thread_ts = body.get("thread_ts")
        if thread_ts is not None and not self._workspace.has_thread(url.channel, thread_ts):
            raise ApiError("thread_not_found")
        self._workspace.post(
            Message(
                channel=url.channel,
                ts=self._workspace.clock.next_ts(),
                user=self._workspace.bot.id,
                bot_id=self._workspace.bot.bot_id,
                text=text[: validation.POST_TEXT],
                blocks=blocks,
                thread_ts=thread_ts,
                ephemeral_for=url.user if response_type == "ephemeral" else None,
            )
        )
