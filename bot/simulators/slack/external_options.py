"""Lists of which the app gives the options while a user types (`external_select`)."""

from collections.abc import Mapping
from typing import Any

from bot.simulators.slack import blockkit, payloads, user_input
from bot.simulators.slack.delivery import Delivery, Envelope, NoAck
from bot.simulators.slack.model import Json, NotPossible, User, View
from bot.simulators.slack.workspace import Workspace

FEWEST_TYPED = 3
"""Slack's own `min_query_length`."""


class OptionsNotLoadedError(NotPossible):
    """The app gave no options that Slack accepts; the message says why."""


class ExternalOptions:
    """Asks the app with a `block_suggestion`; over HTTP only at its options load URL."""

    def __init__(
        self, *, workspace: Workspace, delivery: Delivery, over_http: bool, url: str | None
    ) -> None:
        self._workspace = workspace
        self._delivery = delivery
        self._reachable = url is not None or not over_http

    async def load(
        self, user: User, view: View, block: Json, element: Json, typed: str
    ) -> list[Json]:
        """Return what the list offers. Raises OptionsNotLoadedError."""
        if len(typed) < element.get("min_query_length", FEWEST_TYPED):
            return []
        if not self._reachable:
            raise OptionsNotLoadedError("the app has no options load URL")
        payload = payloads.block_suggestion(
            self._workspace, user, view, block["block_id"], element["action_id"], typed
        )
        outcome = await self._delivery.send(Envelope(kind="interactive", payload=payload))
        if isinstance(outcome, NoAck):
            raise OptionsNotLoadedError("the app did not respond in time")
        problems: list[str] = []
        blockkit.external_options(outcome.response, "", problems)
        answer = outcome.response
        if problems or not isinstance(answer, dict):
            raise OptionsNotLoadedError("; ".join(problems) or "the app gave no options")
        groups = answer.get("option_groups", ())
        return [
            *answer.get("options", ()),
            *(option for group in groups for option in group["options"]),
        ]

    async def offered(self, user: User, view: View, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values that a user typed, with the option that the app offers for each.

        Raises NotPossible if it offers none; OptionsNotLoadedError.
        """
        filled = dict(values)
        for name, value in values.items():
            block, element = user_input.field(view.blocks, name)
            if element["type"] == "external_select" and isinstance(value, str):
                offered = await self.load(user, view, block, element, value)
                found = [one for one in offered if one["value"] == value]
                if not found:
                    raise NotPossible(f"{name} offers {offered}, not {value!r}")
                filled[name] = found[0]
        return filled
