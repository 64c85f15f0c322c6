"""Webhook deliveries for operators: list, deliver again, turn on again."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from ulid import ULID

from bot.clock import SystemClock
from bot.config.loading import Settings
from bot.config.secrets import is_plain
from bot.errors import Declined
from bot.outbox import (
    WEBHOOKS,
    Delivered,
    Endpoint,
    Gone,
    Outbox,
    Outgoing,
    webhook_lane,
)
from bot.webhooks.payload import rfc3339

TEST = "webhook.test"
TEST_TEXT = "A test of deploybot's webhooks. Nothing was deployed."

Addresses = Mapping[str, str]
"""Lane -> the address to show for its endpoint."""


def addresses(endpoints: Sequence[Endpoint]) -> Addresses:
    """How to show the configured addresses: as host and digest where a path may be secret."""
    return {
        one.lane: _address(one.url) if one.format != "slack" else one.lane.removeprefix(WEBHOOKS)
        for one in endpoints
    }


def _address(url: str) -> str:
    return url if is_plain(url) else webhook_lane(url).removeprefix(WEBHOOKS)


class Deliveries(Outbox, Protocol):
    """The outbox, and what only operators need."""

    async def turned_off(self) -> Mapping[str, str]:
        """The lanes that are off, each with its reason."""
        ...


def _shown(lane: str, known: Addresses) -> str:
    return known.get(lane, lane.removeprefix(WEBHOOKS))


def delivery_line(row: Outgoing, known: Addresses) -> str:
    """A delivery as a line: id, state, event, deployment, attempts, address."""
    when = rfc3339(row.created_at) if row.created_at else "-"
    line = (
        f"{row.id}  {when}  {row.state}  {row.kind}  {row.deployment_id}  "
        f"tries {row.tries}  {_shown(row.lane, known)}"
    )
    return f"{line}  ({row.last_error})" if row.last_error else line


def delivery_json(row: Outgoing, known: Addresses) -> dict[str, object]:
    """The same as JSON."""
    return {
        "id": row.id,
        "url": _shown(row.lane, known),
        "event": row.kind,
        "deployment": row.deployment_id,
        "state": row.state,
        "tries": row.tries,
        "created_at": rfc3339(row.created_at) if row.created_at else None,
        "next_at": rfc3339(row.next_at) if row.next_at else None,
        "last_error": row.last_error,
    }


async def send_test(settings: Settings, url: str | None) -> Sequence[tuple[bool, str]]:
    """Send a test event to one endpoint, or to all. Declined: there is none.

    Returns for each whether it took it, and the sentence to print.
    """
    known = addresses(settings.endpoints())
    found = [one for one in settings.endpoints() if url in {None, one.url, known[one.lane]}]
    if not found:
        what = "No webhook is set." if url is None else f"No webhook has the address {url}."
        raise Declined(f"{what} `deploybot config show` shows which there are.")
    allow_private = settings.values.webhook_allow_private
    return await asyncio.gather(
        *(_send_test(one, known[one.lane], allow_private=allow_private) for one in found)
    )


async def _send_test(endpoint: Endpoint, shown: str, *, allow_private: bool) -> tuple[bool, str]:
    from bot.webhooks.sender import send_once  # noqa: PLC0415 - slow

    clock = SystemClock()
    now = clock.now()
    body: Mapping[str, object] = {
        "type": TEST,
        "timestamp": rfc3339(now),
        "data": {"message": TEST_TEXT},
    }
    row = Outgoing(
        id=str(ULID.from_datetime(now)),
        deployment_id="",
        lane=endpoint.lane,
        kind=TEST,
        body={"text": TEST_TEXT} if endpoint.format == "slack" else body,
    )
    attempt = await send_once(endpoint, row, clock=clock, allow_private=allow_private)
    if isinstance(attempt, Delivered):
        return True, f"{shown} took the test event {row.id}."
    why = attempt.reason if isinstance(attempt, Gone) else attempt.error
    return False, f"{shown} did not take the test event {row.id}: {why}."


async def list_deliveries(
    outbox: Deliveries, limit: int, known: Addresses
) -> tuple[Sequence[Outgoing], Mapping[str, str]]:
    """The newest deliveries, and the addresses that are off, with the reasons."""
    off = {_shown(lane, known): why for lane, why in (await outbox.turned_off()).items()}
    return await outbox.outgoing(limit=limit), off


async def replay(outbox: Deliveries, outgoing_id: str) -> str:
    """Deliver again. Returns the sentence to print. Declined: no such delivery."""
    if not await outbox.replay(outgoing_id.upper()):
        raise Declined(f"There is no delivery {outgoing_id}. `deploybot webhooks list` shows them.")
    return f"{outgoing_id} is due again. The running bot delivers it with the same webhook-id."


async def enable(outbox: Deliveries, url: str) -> str:
    """Turn an endpoint on again that answered 410. Declined: it was not off.

    `url` is its address, or the form that `list` shows.
    """
    lane = webhook_lane(url) if "://" in url else WEBHOOKS + url
    shown = _address(url) if "://" in url else url
    if not await outbox.turn_on(lane):
        raise Declined(f"{shown} is not turned off. `deploybot webhooks list` shows which are.")
    return f"{shown} is on again."
