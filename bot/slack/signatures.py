"""HTTP mode: which requests are from Slack; and a warning about those that are refused.

Source: Slack docs, "Verifying requests from Slack". Anyone can reach the port, so a warning of one
kind is logged once a minute, with the number of refusals since the last one.
"""

import hmac
from urllib.parse import parse_qs

import structlog
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from bot.clock import Clock

log = structlog.get_logger(__name__)

OLDEST_S = 300
"""Slack's own limit: an older request may be someone's repetition."""
LONGEST_TIMESTAMP = 20
WARN_EVERY_S = 60.0

UNSIGNED = (
    "It has no valid signature headers. It is not from Slack, or a proxy in front of the bot "
    "removes X-Slack-Signature and X-Slack-Request-Timestamp."
)
BAD_SIGNATURE = (
    "Its signature does not fit. If it is from Slack, SLACK_SIGNING_SECRET is wrong: copy the "
    "Signing Secret from Basic Information on the app's page."
)
TOO_LARGE = "Its body is larger than any of Slack's, so it is not from Slack."


class RequestCheck:
    """Verifies each request before anything of it is parsed."""

    def __init__(self, signing_secret: str | None, clock: Clock) -> None:
        self._verifier = SignatureVerifier(signing_secret) if signing_secret else None
        self._clock = clock
        self._warned: dict[str, float] = {}
        self._unreported: dict[str, int] = {}

    async def body(self, request: web.Request) -> bytes:
        """The body. Raises HTTPRequestEntityTooLarge."""
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            self._warn("too_large", TOO_LARGE)
            raise

    def is_from_slack(self, request: web.Request, body: str) -> bool:
        """Whether Slack signed it, a few minutes ago at most."""
        timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        readable = timestamp.isascii() and timestamp.isdecimal() and signature.isascii()
        if not readable or not signature or len(timestamp) > LONGEST_TIMESTAMP:
            self._warn("unsigned", UNSIGNED)
            return False
        expected = self._expected(timestamp, body)
        if expected is None or not hmac.compare_digest(expected, signature):
            self._warn("bad_signature", BAD_SIGNATURE)
            return False
        ahead_s = self._clock.now().timestamp() - int(timestamp)
        if abs(ahead_s) > OLDEST_S:
            self._warn("old_timestamp", _clock_differs(ahead_s))
            return False
        return True

    def _expected(self, timestamp: str, body: str) -> str | None:
        if self._verifier is None:
            return None
        return self._verifier.generate_signature(timestamp=timestamp, body=body)

    def _warn(self, kind: str, why: str) -> None:
        now = self._clock.monotonic()
        self._unreported[kind] = self._unreported.get(kind, 0) + 1
        if kind in self._warned and now - self._warned[kind] < WARN_EVERY_S:
            return
        self._warned[kind] = now
        refused = self._unreported.pop(kind)
        log.warning("slack_request_refused", kind=kind, why=why, refused=refused)


def _clock_differs(ahead_s: float) -> str:
    way = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"Slack signed it, but this machine's clock differs by {abs(ahead_s):.0f} s: it is {way} "
        "the request. Set the clock (NTP). If the clock is right, someone repeats an old request."
    )


def is_ssl_check(request: web.Request, body: str = "") -> bool:
    """Whether Slack only tests the certificate, which it does without a signature."""
    if request.query.get("ssl_check") == "1":
        return True
    form = request.content_type == "application/x-www-form-urlencoded"
    return form and parse_qs(body[:1_000]).get("ssl_check") == ["1"]
