"""How an answer reaches the person who asked: where they are, and at least somewhere."""

import re
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.errors import SlackError
from bot.slack.client import SlackClient
from bot.slack.listeners.payloads import Asker
from bot.slack.render.blocks import Answer, section
from bot.slack.render.text import break_at, cut

LONGEST_SENTENCE = 2_000
RESPOND_TIMEOUT_S = 10
_HTTP_OK = 200
_BROADCAST = re.compile(r"@(?=(?:here|channel|everyone)\b)")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers to one act of one person."""

    client: SlackClient
    asker: Asker
    aloud: bool = False
    """Answer where all can read it: in the thread, or in the DM; else to the asker alone."""

    async def say(self, answer: Answer) -> None:
        """What was asked for."""
        if self.aloud:
            await self._post(answer)
        else:
            await self._whisper(answer)

    async def whisper(self, sentence: str) -> None:
        """One line for the asker alone: a mistake, or what only they need to know."""
        answer = as_answer(sentence)
        if self.asker.direct:
            try:
                await self._post(answer)
            except SlackError as error:
                # The id of a conversation between two people looks the same as ours with one.
                log.info("direct_refused", error=error.code)
            else:
                return
        await self._whisper(answer)

    async def _post(self, answer: Answer) -> None:
        await self.client.post(
            self.asker.channel,
            text=answer.text,
            blocks=answer.blocks,
            thread_ts=self.asker.thread_ts,
        )

    async def _whisper(self, answer: Answer) -> None:
        """By the response URL; where that fails, as an ephemeral message, then as a DM.

        The response URL works where the bot is no member, but ends after 30 minutes or 5
        uses; an ephemeral message needs membership; a DM reaches everybody else.
        """
        if self.asker.response_url and await self._respond(self.asker.response_url, answer):
            return
        user = self.asker.actor.user
        try:
            if self.asker.channel:
                await self.client.ephemeral(
                    self.asker.channel,
                    user,
                    text=answer.text,
                    blocks=answer.blocks,
                    thread_ts=self.asker.thread_ts,
                )
                return
        except SlackError as error:
            log.info("ephemeral_refused", error=error.code)
        await self.client.post(user, text=answer.text, blocks=answer.blocks)

    async def _respond(self, url: str, answer: Answer) -> bool:
        """Whether Slack took it: a refused response URL raises nothing by itself."""
        web = self.client.web
        webhook = AsyncWebhookClient(
            url, session=web.session, ssl=web.ssl, timeout=RESPOND_TIMEOUT_S, retry_handlers=[]
        )
        # The SDK reads HTTPS_PROXY here too, and never NO_PROXY; the client has decided.
        webhook.proxy = web.proxy
        body: dict[str, Any] = {
            "response_type": "ephemeral",
            "replace_original": False,
            "text": answer.text,
            "blocks": list(answer.blocks),
        }
        try:
            response = await webhook.send_dict(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("response_url_failed", error=type(error).__name__)
            return False
        if response.status_code != _HTTP_OK:
            log.info("response_url_refused", status=response.status_code)
        return response.status_code == _HTTP_OK


def as_answer(sentence: str) -> Answer:
    """A sentence of ours as a message; a block keeps Slack from making links of its words.

    It may name what somebody typed, and a branch may be called `@here`.
    """
    sentence = _BROADCAST.sub(break_at("@"), cut(sentence, LONGEST_SENTENCE) or "-")
    return Answer(text=sentence, blocks=(section(sentence),))
