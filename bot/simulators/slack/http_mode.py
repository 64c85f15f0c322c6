"""HTTP mode: signed requests to the app's request URL."""

import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bot.simulators.slack.clock import Clock
from bot.simulators.slack.delivery import Ack, Envelope, NoAck, Retry
from bot.simulators.slack.model import Json

_OK = 200
_REASONS = {
    "timeout": "http_timeout",
    "http_error": "http_error",
    "connection_failed": "connection_failed",
}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return Slack's `v0` signature of a request."""
    digest = hmac.new(secret.encode(), b"v0:%s:%s" % (timestamp.encode(), body), hashlib.sha256)
    return f"v0={digest.hexdigest()}"


@dataclass(kw_only=True)
class HttpTransport:
    """Posts events as JSON, commands as a form, interactions as a form field `payload`."""

    signing_secret: str
    clock: Clock
    request_url: str | None = None
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def attempt(
        self, envelope: Envelope, *, retry: Retry | None, timeout_s: float
    ) -> Ack | NoAck:
        """Send one signed request; only status 200 in time is an acknowledgement."""
        headers = {}
        if retry is not None:
            headers = {
                "X-Slack-Retry-Num": str(retry.number),
                "X-Slack-Retry-Reason": _REASONS[retry.reason],
            }
        content_type, body = _encode(envelope)
        return await self._post(content_type, body, headers, timeout_s)

    async def verify(self, *, timeout_s: float) -> bool:
        """Send Slack's `url_verification`; return whether the app answers with the challenge."""
        challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
        body = json.dumps({"type": "url_verification", "challenge": challenge}).encode()
        answer = await self._post("application/json", body, {}, timeout_s)
        if not isinstance(answer, Ack):
            return False
        response = answer.response
        values = response.values() if isinstance(response, dict) else (response,)
        return challenge in values

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(
        self, content_type: str, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> Ack | NoAck:
        if self.request_url is None:
            return NoAck(reason="connection_failed")
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        timestamp = str(int(self.clock.now_s()))
        headers = {
            **headers,
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature(self.signing_secret, timestamp, body),
        }
        started_s = time.monotonic()
        try:
            async with self._session.post(
                self.request_url,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as answer:
                text = await answer.text()
                if answer.status != _OK:
                    final = answer.headers.get("X-Slack-No-Retry") == "1"
                    return NoAck(reason="http_error", final=final)
                response: Any = text or None
                if text and answer.content_type == "application/json":
                    response = json.loads(text) or None
                return Ack(after_s=time.monotonic() - started_s, response=response)
        except TimeoutError:
            return NoAck(reason="timeout")
        except (aiohttp.ClientError, ValueError):
            return NoAck(reason="connection_failed")


def _encode(envelope: Envelope) -> tuple[str, bytes]:
    payload: Json = envelope.payload
    match envelope.kind:
        case "events_api":
            return "application/json", json.dumps(payload).encode()
        case "slash_commands":
            return "application/x-www-form-urlencoded", urlencode(payload).encode()
        case "interactive":
            form = urlencode({"payload": json.dumps(payload)})
            return "application/x-www-form-urlencoded", form.encode()
