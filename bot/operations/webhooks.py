"""Webhook deliveries as operators see them: list, replay, turn on again."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.deployments.ports import Outbox, Outgoing
from bot.errors import Declined
from bot.webhooks.payload import rfc3339

LANE = "webhook:"


class Deliveries(Outbox, Protocol):
    """The outbox, with what only operators ask."""

    async def turned_off(self) -> Mapping[str, str]:
        """The lanes that are off, each with its reason."""
        ...


def delivery_line(row: Outgoing) -> str:
    """One delivery: id, state, event, deployment, tries, address."""
    when = rfc3339(row.created_at) if row.created_at else "-"
    line = (
        f"{row.id}  {when}  {row.state}  {row.kind}  {row.deployment_id}  "
        f"tries {row.tries}  {row.lane.removeprefix(LANE)}"
    )
    return f"{line}  ({row.last_error})" if row.last_error else line


def delivery_json(row: Outgoing) -> dict[str, object]:
    """The same, for scripts."""
    return {
        "id": row.id,
        "url": row.lane.removeprefix(LANE),
        "event": row.kind,
        "deployment": row.deployment_id,
        "state": row.state,
        "tries": row.tries,
        "created_at": rfc3339(row.created_at) if row.created_at else None,
        "next_at": rfc3339(row.next_at) if row.next_at else None,
        "last_error": row.last_error,
    }


async def list_deliveries(
    outbox: Deliveries, limit: int
) -> tuple[Sequence[Outgoing], Mapping[str, str]]:
    """The newest deliveries, and the addresses that are off with their reasons."""
    off = {lane.removeprefix(LANE): why for lane, why in (await outbox.turned_off()).items()}
    return await outbox.outgoing(limit=limit), off


async def replay(outbox: Deliveries, outgoing_id: str) -> str:
    """Send one again; the sentence to print. Declined: no such delivery."""
    if not await outbox.replay(outgoing_id.upper()):
        raise Declined(f"There is no delivery {outgoing_id}. `deploybot webhooks list` shows them.")
    return f"{outgoing_id} is due again; the running bot delivers it with the same webhook-id."


async def enable(outbox: Deliveries, url: str) -> str:
    """Deliver to an address again that had answered 410. Declined: it was not off."""
    if not await outbox.turn_on(LANE + url):
        raise Declined(f"{url} is not turned off. `deploybot webhooks list` shows which are.")
    return f"{url} is on again."
