"""The queue's rules: which deployment is next, and what the others wait for. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bot.deployments.model import AppKey, Deployment, Phase
from bot.deployments.states import WAITING
from bot.deployments.timing import Timing
from bot.errors import Declined
from bot.names import slash

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
        one.id: describe_full_server(used, limits[one.server])
        for one, used in _first(waiting, running, limits, blocked)
        if used is not None
    }


def describe_full_server(used: int, limit: int) -> str:
    """What a deployment waits for on a server that has no slot left."""
    return f"a free slot on the server ({used} of {limit} in use)"


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


def queue_positions(
    waiting: Collection[Deployment], locked: Collection[str] = frozenset()
) -> Mapping[str, int]:
    """Deployment id -> position in its app's queue, from 1. Those that a lock stops are last."""
    counts: Counter[AppKey] = Counter()
    positions: dict[str, int] = {}
    for one in sorted(in_order(waiting), key=lambda row: row.id in locked):
        counts[one.target] += 1
        positions[one.id] = counts[one.target]
    return positions


def refuse_too_many(unfinished: Collection[Deployment], new: Deployment, most: Timing) -> None:
    """Declined: as many as may wait for the app, or for the person, are waiting already.

    Those that await their approval take no place from those that are queued: each kind is counted
    by itself. A repeated delivery is not a new request. The limit per person does not apply to the
    shell.
    """
    waiting = [one for one in unfinished if one.phase is new.phase]
    if any(one.request_key == new.request_key for one in unfinished):
        return
    what = "are waiting" if new.phase is Phase.QUEUED else "wait for their approval"
    who, of_app, of_person = new.requested_by, most.most_waiting_of_app, most.most_waiting_of_person
    if sum(one.target == new.target for one in waiting) >= of_app:
        raise Declined(
            f"{of_app} deployments of {new.app} {what}, and no more may wait for one app. "
            f"{slash(f'cancel {new.app}')} removes one; or ask again when one has started."
        )
    if who.team and sum(one.requested_by.user == who.user for one in waiting) >= of_person:
        raise Declined(
            f"{of_person} deployments that you requested {what}, and no more may wait for one "
            f"person. Cancel one, or ask again when one has started. {slash('status')} lists them."
        )


def superseded(
    waiting: Collection[Deployment],
    latest: Collection[AppKey],
    locked: Collection[str] = frozenset(),
) -> Mapping[str, Deployment]:
    """Waiting deployments of these apps that a newer one replaces: id -> the newest one.

    A newer one counts once it can be deployed: it needs no approval any more, its commit was looked
    up, its message posted, and neither a cancel request nor a lock stops it. Who asked later is
    newer, whoever was approved first.
    """
    asked = sorted((one for one in waiting if one.phase in WAITING), key=lambda one: one.id)
    newest = {
        one.target: one
        for one in asked
        if one.target in latest and one.phase is Phase.QUEUED
        if one.id not in locked and _may_start(one)
    }
    return {
        one.id: newest[one.target]
        for one in asked
        if one.target in newest and one.id < newest[one.target].id
    }


def find_twin(waiting: Collection[Deployment], new: Deployment) -> Deployment | None:
    """The waiting deployment that makes a new request for the same commit superfluous.

    Only the last of the app's queue: after an earlier one, another commit would come last. For a
    request that waits for an approval, also the last that does. Its message may not be posted yet.
    Requests for the same ref whose commit is not looked up yet come after it, whatever they find.
    """
    others = [one for one in waiting if one.target == new.target and one.id != new.id]
    others = [one for one in others if one.ready or one.ref != new.ref]
    last = list(in_order(others)[-1:])
    if new.phase is Phase.AWAITING_APPROVAL:
        asked = [one for one in others if one.phase is new.phase and one.approval is new.approval]
        last += sorted(asked, key=lambda one: one.id)[-1:]
    commit = (new.sha, new.ref, new.repo)
    same = [one for one in last if _is_wanted(one) and (one.sha, one.ref, one.repo) == commit]
    return same[0] if same and new.sha is not None else None


def _is_wanted(one: Deployment) -> bool:
    return one.ready and one.cancel is None


def _may_start(one: Deployment) -> bool:
    return _is_wanted(one) and (one.message is not None or not one.channel)


def is_expired(deployment: Deployment, now: datetime, ttl: timedelta) -> bool:
    """Whether the deployment has been queued, or waiting for its approval, for more than `ttl`."""
    return now - (deployment.queued_at or deployment.created_at) > ttl
