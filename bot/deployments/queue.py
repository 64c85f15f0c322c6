"""The queue's rules: who is next, who waits for what. Facts in, decision out."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from bot.deployments.model import AppKey, BuildRecord, BuildStatus, Deployment, Phase


def in_order(waiting: Collection[Deployment]) -> Sequence[Deployment]:
    """Queued deployments in the order in which they start: by time of queueing, then id."""
    queued = [one for one in waiting if one.phase is Phase.QUEUED]
    return sorted(queued, key=lambda one: (one.queued_at or one.created_at, one.id))


def heads(waiting: Collection[Deployment], running: Collection[AppKey]) -> Sequence[Deployment]:
    """The first of each app's queue, for apps that have no running deployment."""
    taken = set(running)
    first: list[Deployment] = []
    for one in in_order(waiting):
        if one.target not in taken:
            taken.add(one.target)
            first.append(one)
    return first


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


SOURCES: Mapping[str, str] = {
    "git-hook": "a git push",
    "git:sync": "a git:sync",
    "git:from-image": "a git:from-image",
    "git:from-archive": "a git:from-archive",
    "ps:rebuild": "a ps:rebuild",
    "ps:restart": "a ps:restart",
    "config-redeploy": "a config:set",
    "deploy": "a ps:start",
}


def describe_foreign(record: BuildRecord) -> str:
    """One phrase that names a foreign build: how it was started, and its id."""
    how = SOURCES.get(record.source, record.source or "another command")
    return f"{how} outside this bot (Dokku build {record.id})"
