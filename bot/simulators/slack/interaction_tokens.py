"""What an interaction gives the app: a trigger id (one use, 3 s) and a response URL."""

import secrets
from dataclasses import dataclass, field
from typing import Literal

from bot.simulators.slack.clock import Clock, Timings
from bot.simulators.slack.model import ApiError, Message


@dataclass(kw_only=True)
class _Trigger:
    user: str
    view_id: str | None
    until_s: float
    used: bool = False


@dataclass(kw_only=True)
class ResponseUrl:
    """Where an app may answer one interaction: five times within 30 minutes."""

    token: str
    user: str
    channel: str
    source: Literal["command", "action", "shortcut"]
    message: Message | None
    """The message whose button was clicked; `replace_original` refers to it."""
    until_s: float
    uses_left: int


@dataclass(kw_only=True)
class InteractionTokens:
    """All trigger ids and response URLs that were given out."""

    clock: Clock
    timings: Timings
    base_url: str = ""
    _triggers: dict[str, _Trigger] = field(default_factory=dict)
    _response_urls: dict[str, ResponseUrl] = field(default_factory=dict)

    def new_trigger(self, user: str, *, view_id: str | None = None) -> str:
        """Return a `trigger_id` for a user's interaction, with `view_id` for one in a modal."""
        number = len(self._triggers) + 1
        trigger_id = f"{1_000_000 + number}.4242.{secrets.token_hex(16)}"
        self._triggers[trigger_id] = _Trigger(
            user=user, view_id=view_id, until_s=self.clock.now_s() + self.timings.trigger_s
        )
        return trigger_id

    def exchange(self, trigger_id: str) -> tuple[str, str | None]:
        """Use a trigger id; return the user and the modal of the interaction.

        Raises ApiError invalid_trigger_id, exchanged_trigger_id, expired_trigger_id.
        """
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise ApiError("invalid_trigger_id")
        if trigger.used:
            raise ApiError("exchanged_trigger_id")
        if self.clock.now_s() > trigger.until_s:
            raise ApiError("expired_trigger_id")
        trigger.used = True
        return trigger.user, trigger.view_id

    def new_response_url(
        self,
        user: str,
        channel: str,
        *,
        source: Literal["command", "action", "shortcut"],
        message: Message | None = None,
    ) -> str:
        """Return an address that takes a few answers."""
        token = secrets.token_urlsafe(18)
        self._response_urls[token] = ResponseUrl(
            token=token,
            user=user,
            channel=channel,
            source=source,
            message=message,
            until_s=self.clock.now_s() + self.timings.response_url_s,
            uses_left=self.timings.response_url_uses,
        )
        return f"{self.base_url}response/{token}"

    def use_response_url(self, token: str) -> ResponseUrl:
        """Count one use.

        Raises ApiError expired_url, used_url; Slack answers both with HTTP 404.
        """
        found = self._response_urls.get(token)
        if found is None or self.clock.now_s() > found.until_s:
            raise ApiError("expired_url")
        if found.uses_left <= 0:
            raise ApiError("used_url")
        found.uses_left -= 1
        return found
