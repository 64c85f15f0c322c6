"""The queue's rules: who is next, who waits for what. Facts in, decision out."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bot.deployments.dokku_facts import BuildRecord, BuildStatus
from bot.deployments.model import AppKey, Deployment, Phase


def in_order(waiting: Collection[Deployment]) -> Sequence[Deployment]:
    """Queued deployments in the order in which they start: by time of queueing, then id."""
    queued = [one for one in waiting if one.phase is Phase.QUEUED]
    return sorted(queued, key=lambda one: (one.queued_at or one.created_at, one.id))


NO_LIMITS: Mapping[str, int] = {}


def heads(
    waiting: Collection[Deployment],
    running: Collection[AppKey],
    most: Mapping[str, int] = NO_LIMITS,
    held_up: Collection[str] = frozenset(),
) -> Sequence[Deployment]:
    """The first of each app's queue, for apps that have no running deployment.

    `most` is how many may run at once on a server; 0, or none named, is no limit. Free places go
    in queue order. Ids in `held_up` cannot start for another reason (a foreign build, a silent
    server): they are tried all the same, so that it is known when nothing else is in their way,
    and take no place from those behind them. The store's own guard has the last word.
    """
    return [one for one, used in _first(waiting, running, most, held_up) if used is None]


def without_place(
    waiting: Collection[Deployment],
    running: Collection[AppKey],
    most: Mapping[str, int],
    held_up: Collection[str] = frozenset(),
) -> Mapping[str, str]:
    """Those whose turn it is on their app, but not on their server: id -> what they wait for."""
    return {
        one.id: free_place(one.server, used, most[one.server])
        for one, used in _first(waiting, running, most, held_up)
        if used is not None
    }


def free_place(server: str, used: int, most: int) -> str:
    """What somebody waits for on a server that has no place left."""
    return f"a free place on {server} ({used} of {most} run)"


def _first(
    waiting: Collection[Deployment],
    running: Collection[AppKey],
    most: Mapping[str, int],
    held_up: Collection[str],
) -> Iterator[tuple[Deployment, int | None]]:
    """The first of each app's queue. None: it has a place; else how many are used."""
    taken = set(running)
    used = Counter(key.server for key in running)
    for one in in_order(waiting):
        if one.target in taken:
            continue
        taken.add(one.target)
        limit = most.get(one.server)
        if one.id in held_up:
            yield one, None
        elif limit and used[one.server] >= limit:
            yield one, used[one.server]
        else:
            used[one.server] += 1
            yield one, None


def places(waiting: Collection[Deployment]) -> Mapping[str, int]:
    """Deployment id -> place among the waiting of its app, from 1."""
    counts: dict[AppKey, int] = {}
    places_: dict[str, int] = {}
    for one in in_order(waiting):
        counts[one.target] = counts.get(one.target, 0) + 1
        places_[one.id] = counts[one.target]
    return places_


def foreign_build(
    records: Sequence[BuildRecord], ours: Collection[str] = frozenset()
) -> BuildRecord | None:
    """A build that runs on the server and is none of ours: never start into it.

    A start that Dokku refuses empties its lock file, and the running build can then not be
    cancelled any more (recording l4_cancel_after_refused_second_deploy).
    """
    for record in records:
        if record.status is BuildStatus.RUNNING and record.id not in ours:
            return record
    return None


def is_expired(deployment: Deployment, now: datetime, ttl: timedelta) -> bool:
    """Whether a place in the queue has been kept for longer than `ttl`."""
    return now - (deployment.queued_at or deployment.created_at) > ttl
