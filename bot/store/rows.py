"""Deployments as rows and rows as deployments."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping

from bot.deployments.dokku_facts import AppReport, Container, Containers, Snapshot
from bot.deployments.model import (
    Actor,
    CancelRequest,
    Deployment,
    Failure,
    Live,
    MessagePlace,
    Phase,
    Trigger,
)

_SAME = (
    *("id", "server", "app", "dokku_app", "repo", "ref", "sha", "ready", "reason", "evidence"),
    *("request_key", "channel", "created_at", "queued_at", "started_at", "finished_at"),
    *("attempt", "build_id", "exit_status", "url", "previous_sha", "retry_of", "rollback_of"),
    *("rollback_sha", "corrected_from", "late_over", "crash_told", "fence"),
)
"""Columns that hold a field of the same name as it is."""


def actor_values(actor: Actor) -> dict[str, Any]:
    """An actor as JSON."""
    return {"user": actor.user, "team": actor.team, "name": actor.name}


def read_actor(stored: Mapping[str, Any]) -> Actor:
    """The actor that `actor_values` wrote."""
    return Actor(user=stored["user"], team=stored["team"], name=stored["name"])


def fact_values(deployment: Deployment) -> dict[str, Any]:
    """All columns that an owner writes: everything but the wish and the message's place."""
    return {name: getattr(deployment, name) for name in _SAME} | {
        "phase": deployment.phase.value,
        "failure": deployment.failure and deployment.failure.value,
        "live": deployment.live and deployment.live.value,
        "requested_by": actor_values(deployment.requested_by),
        "trigger": deployment.trigger.value,
        "before": deployment.before and _snapshot_values(deployment.before),
        "after": _listed_values(deployment.after),
        "corrected_from": deployment.corrected_from and dict(deployment.corrected_from),
        "max_duration_s": deployment.max_duration.total_seconds(),
    }


def place_values(place: MessagePlace | None) -> dict[str, Any]:
    """The columns of the live message's place."""
    return {
        "message_channel": place and place.channel,
        "message_ts": place and place.ts,
        "message_permalink": place and place.permalink,
    }


def wish_values(wish: CancelRequest | None) -> dict[str, Any]:
    """The columns of the wish to cancel."""
    return {"cancel_by": wish and actor_values(wish.by), "cancel_at": wish and wish.at}


def read_deployment(row: RowMapping) -> Deployment:
    """The deployment of a whole row."""
    return Deployment(
        **{name: row[name] for name in _SAME},
        phase=Phase(row["phase"]),
        failure=Failure(row["failure"]) if row["failure"] else None,
        live=Live(row["live"]) if row["live"] else None,
        requested_by=read_actor(row["requested_by"]),
        trigger=Trigger(row["trigger"]),
        before=_read_snapshot(row["before"]) if row["before"] else None,
        after=_read_listed(row["after"]),
        max_duration=timedelta(seconds=row["max_duration_s"]),
        message=_read_place(row),
        cancel=_read_wish(row),
    )


def _read_place(row: RowMapping) -> MessagePlace | None:
    if row["message_ts"] is None:
        return None
    return MessagePlace(
        channel=row["message_channel"], ts=row["message_ts"], permalink=row["message_permalink"]
    )


def _read_wish(row: RowMapping) -> CancelRequest | None:
    if row["cancel_at"] is None:
        return None
    return CancelRequest(by=read_actor(row["cancel_by"]), at=row["cancel_at"])


def _snapshot_values(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "builds": None if snapshot.builds is None else sorted(snapshot.builds),
        "report": asdict(snapshot.report),
        "containers": _listed_values(snapshot.containers),
        "proven": snapshot.proven,
    }


def _listed_values(containers: Containers | None) -> list[dict[str, Any]] | None:
    # An empty read is a read: `containers and …` would make it none.
    return None if containers is None else [asdict(one) for one in containers.listed]


def _read_listed(stored: Any) -> Containers | None:
    if stored is None:
        return None
    return Containers(listed=tuple(Container(**one) for one in stored))


def _read_snapshot(stored: Mapping[str, Any]) -> Snapshot:
    builds = stored["builds"]
    return Snapshot(
        builds=None if builds is None else frozenset(builds),
        report=AppReport(**stored["report"]),
        containers=_read_listed(stored["containers"]),
        proven=stored.get("proven"),
    )
