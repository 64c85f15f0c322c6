"""Deployments in a shell: status, history, logs, cancel."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bot.deployments.lock import ALL
from bot.deployments.locks.rules import subject_of
from bot.deployments.model import Actor, AuditEntry, Deployment, Event, Phase
from bot.deployments.ports import Store
from bot.deployments.requests.queries import find_by_id
from bot.deployments.states import ENDINGS, STATUS, WAITING
from bot.errors import Declined
from bot.webhooks.payload import rfc3339, standard_body

Trail = Sequence[tuple[datetime, AuditEntry]]
"""Audit entries, oldest first, each with its time."""
History = Sequence[tuple[Deployment, Trail]]


async def find(store: Store, word: str) -> Deployment:
    """By id or part of one, or by app: its running, else first queued, else newest one.

    Raises: Declined, when there is none or more than one.
    """
    by_id = await find_by_id(store, word)
    if by_id is not None:
        return by_id
    unfinished = [one for one in await store.unfinished() if word in {one.app, one.dokku_app}]
    running = [one for one in unfinished if one.phase not in WAITING]
    newest = await store.recent(app=word, limit=1)
    candidates = [*running, *unfinished, *newest]
    if not candidates:
        raise Declined(
            f"No deployment has the id {word}, and no app named {word} has been deployed."
        )
    return candidates[0]


def one_line(deployment: Deployment, now: datetime) -> str:
    """A deployment as a line: id, app, ref, server, state, duration."""
    state = STATUS[deployment.phase].value
    if deployment.phase.value != state:
        state += f" ({deployment.phase})"
    if deployment.failure is not None:
        state += f" ({deployment.failure})"
    if deployment.live is not None:
        state += f", live: {deployment.live}"
    commit = f" {deployment.sha[:7]}" if deployment.sha else ""
    ref = deployment.ref or "(default ref)"
    lasted = show_elapsed(deployment.duration(now))
    return (
        f"{deployment.id}  {deployment.app} {ref}{commit} on {deployment.server}: "
        f"{state}, {lasted}, by {who(deployment.requested_by)}"
    )


def who(actor: Actor) -> str:
    """A person's name and id."""
    return f"{actor.name} ({actor.user})" if actor.name else actor.user


def show_elapsed(duration: timedelta) -> str:
    """`45s`, `1m 20s`, `2h 5m`."""
    seconds = int(duration.total_seconds())
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds}s"


def details(deployment: Deployment, now: datetime) -> list[str]:
    """A deployment in full, one fact per line."""
    facts: dict[str, str | None] = {
        "commit": deployment.sha,
        "repository": deployment.repo,
        "reason": deployment.reason,
        "evidence": deployment.evidence,
        "cancel requested by": who(deployment.cancel.by) if deployment.cancel else None,
        "requested": rfc3339(deployment.created_at),
        "started": rfc3339(deployment.started_at) if deployment.started_at else None,
        "ended": rfc3339(deployment.finished_at) if deployment.finished_at else None,
        "attempt": str(deployment.attempt) if deployment.attempt > 1 else None,
        "Dokku build": deployment.build_id,
        "url": deployment.url,
        "message": deployment.message.permalink if deployment.message else None,
    }
    width = max(len(name) for name in facts)
    lines = [f"  {name:<{width}}  {fact}" for name, fact in facts.items() if fact is not None]
    return [one_line(deployment, now), *lines]


def as_json(deployment: Deployment, now: datetime) -> dict[str, object]:
    """The fields of a webhook's `data` (docs/webhooks.md) and a few that only operators need."""
    data = standard_body(deployment, Event(type="status"), at=now)["data"]
    fields = dict(data) if isinstance(data, Mapping) else {}
    fields.pop("log_tail", None)
    fields["phase"] = deployment.phase.value
    fields["attempt"] = deployment.attempt
    fields["evidence"] = deployment.evidence
    fields["requested_at"] = rfc3339(deployment.created_at)
    return fields


async def history(store: Store, app: str, *, server: str | None, limit: int) -> History:
    """The newest deployments of an app, with their audit trails. Declined: there are none."""
    found = await store.recent(app=app, server=server, limit=limit)
    if not found:
        raise Declined(f"No deployment of {app} is recorded.")
    return [(one, await store.audit_of(one.id)) for one in found]


async def lock_trail(store: Store, found: Sequence[Deployment]) -> Trail:
    """Who locked and unlocked the app of these deployments, or every app; oldest first."""
    subjects = [subject_of(key) for key in dict.fromkeys([*(one.target for one in found), ALL])]
    trails = [await store.audit_of(subject) for subject in subjects]
    return sorted((entry for trail in trails for entry in trail), key=lambda stamped: stamped[0])


def audit_line(at: datetime, entry: AuditEntry) -> str:
    """An audit entry as a line: when, what, who, through what."""
    said = ", ".join(f"{key}: {value}" for key, value in entry.detail.items())
    line = f"    {rfc3339(at)}  {entry.action} by {who(entry.actor)} through {entry.through}"
    return f"{line} ({said})" if said else line


def audit_json(at: datetime, entry: AuditEntry) -> dict[str, object]:
    """The same as JSON."""
    return {
        "at": rfc3339(at),
        "action": entry.action,
        "by": {"user": entry.actor.user, "team": entry.actor.team, "name": entry.actor.name},
        "through": entry.through,
        "detail": dict(entry.detail),
    }


async def ask_cancel(store: Store, word: str, now: datetime) -> str:
    """Request a cancel, which the running bot acts on. Returns the sentence to print.

    Raises: Declined, if the deployment has ended or it is too late to cancel.
    """
    deployment = await find(store, word)
    name = f"{deployment.id} ({deployment.app} {deployment.ref})"
    if deployment.phase in ENDINGS:
        raise Declined(f"{name} has already ended: {deployment.phase}. Nothing was cancelled.")
    if deployment.phase is Phase.CHECKING:
        raise Declined(
            f"Too late to cancel {name}: the new release runs and is being checked. "
            "Roll back in Slack when the deployment has ended."
        )
    if deployment.cancel is not None:
        return f"{name} is already being cancelled, requested by {who(deployment.cancel.by)}."
    await store.ask_cancel(deployment.id, operator(), now)
    return (
        f"Asked to cancel {name}. The bot acts on its next poll; see "
        f"`deploybot status {deployment.id}`."
    )


def operator() -> Actor:
    """The operator, by the user name of the shell."""
    return Actor(user="cli", name=os.environ.get("SUDO_USER") or os.environ.get("USER") or None)


def now_utc() -> datetime:
    """The current time."""
    return datetime.now(UTC)
