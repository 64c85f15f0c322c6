"""The queue's rules: which deployment is next, and what the others wait for. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bot.deployments.model import AppKey, Deployment, Phase

NO_LIMITS: Mapping[str, int] = {}


def in_order(waiting: Collection[Deployment]) -> Sequence[Deployment]:
    """Queued deployments in the order in which they start: by `queued_at`, then id."""
    queued = [one for one in waiting if one.phase is Phase.QUEUED]
    return sorted(queued, key=lambda one: (one.queued_at or one.created_at, one.id))


def startable(
    waiting: Collection[Deployment],
    running: Collection[AppKey],
    limits: Mapping[str, int] = NO_LIMITS,
    blocked: Collection[str] = frozenset(),
) -> Sequence[Deployment]:
    """The first of each app's queue, for apps that have no running deployment.

    `limits` is how many may run at once on a server; 0 or a missing entry means no limit. Free
    slots go in queue order. Ids in `blocked` could not start for another reason (an outside build,
    a server that does not answer): they are tried again, to find out when nothing else is in their
    way, but take no slot from those behind them. The store's guard has the last word.
    """
    return [one for one, used in _first(waiting, running, limits, blocked) if used is None]


def waiting_for_slot(
    waiting: Collection[Deployment],
    running: Collection[AppKey],
    limits: Mapping[str, int],
    blocked: Collection[str] = frozenset(),
) -> Mapping[str, str]:
    """First of their app's queue, but their server is full: id -> what they wait for."""
    return {
        one.id: describe_full_server(one.server, used, limits[one.server])
        for one, used in _first(waiting, running, limits, blocked)
        if used is not None
    }


def describe_full_server(server: str, used: int, limit: int) -> str:
    """What a deployment waits for on a server that has no slot left."""
    return f"a free slot on {server} ({used} of {limit} in use)"


def _first(
    waiting: Collection[Deployment],
    running: Collection[AppKey],
    limits: Mapping[str, int],
    blocked: Collection[str],
) -> Iterator[tuple[Deployment, int | None]]:
    """The first of each app's queue. None: it gets a slot; else how many slots are used."""
    busy = set(running)
    used = Counter(key.server for key in running)
    for one in in_order(waiting):
        if one.target in busy:
            continue
        busy.add(one.target)
        limit = limits.get(one.server)
        if one.id in blocked:
            yield one, None
        elif limit and used[one.server] >= limit:
            yield one, used[one.server]
        else:
            used[one.server] += 1
            yield one, None


def queue_positions(waiting: Collection[Deployment]) -> Mapping[str, int]:
    """Deployment id -> position in its app's queue, from 1."""
    counts: Counter[AppKey] = Counter()
    positions: dict[str, int] = {}
    for one in in_order(waiting):
        counts[one.target] += 1
        positions[one.id] = counts[one.target]
    return positions


def is_expired(deployment: Deployment, now: datetime, ttl: timedelta) -> bool:
    """Whether the deployment has been queued, or waiting for its approval, for more than `ttl`."""
    return now - (deployment.queued_at or deployment.created_at) > ttl
