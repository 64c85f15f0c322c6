"""Deployments and audit entries as rows, and rows as deployments and audit entries."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping

from bot.deployments.dokku_facts import AppReport, Container, Containers, Snapshot
from bot.deployments.model import (
    Actor,
    AuditEntry,
    CancelRequest,
    Deployment,
    Failure,
    Live,
    MessagePlace,
    Phase,
    Trigger,
)
from bot.store.tables import deployments

_CONVERTED = {"requested_by", "before", "after", "corrected_from"}
_SAME = tuple(
    one.name
    for one in fields(Deployment)
    if one.name in deployments.c and one.name not in _CONVERTED
)
"""Fields stored as they are, in a column of the same name. A text enum is stored as its word."""


def fact_values(deployment: Deployment) -> dict[str, Any]:
    """All columns that an owner writes: all but the cancel request and the message's place."""
    return {name: getattr(deployment, name) for name in _SAME} | {
        "requested_by": asdict(deployment.requested_by),
        "before": deployment.before and _snapshot_values(deployment.before),
        "after": _container_values(deployment.after),
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


def cancel_values(request: CancelRequest | None) -> dict[str, Any]:
    """The columns of the cancel request."""
    return {"cancel_by": request and asdict(request.by), "cancel_at": request and request.at}


def read_deployment(row: RowMapping) -> Deployment:
    """The deployment of a whole row."""
    enums = {
        "phase": Phase(row["phase"]),
        "failure": Failure(row["failure"]) if row["failure"] else None,
        "live": Live(row["live"]) if row["live"] else None,
        "trigger": Trigger(row["trigger"]),
    }
    return Deployment(
        **({name: row[name] for name in _SAME} | enums),
        requested_by=Actor(**row["requested_by"]),
        before=_read_snapshot(row["before"]) if row["before"] else None,
        after=_read_containers(row["after"]),
        corrected_from=row["corrected_from"],
        max_duration=timedelta(seconds=row["max_duration_s"]),
        message=_read_place(row),
        cancel=_read_cancel(row),
    )


def audit_values(deployment_id: str, entry: AuditEntry, *, at: datetime) -> dict[str, Any]:
    """The row of an audit entry."""
    return {
        "deployment_id": deployment_id,
        "at": at,
        "actor": asdict(entry.actor),
        "through": entry.through,
        "action": entry.action,
        "detail": dict(entry.detail),
    }


def read_audit(row: RowMapping) -> tuple[datetime, AuditEntry]:
    """When it was written, and the entry."""
    entry = AuditEntry(
        actor=Actor(**row["actor"]),
        through=row["through"],
        action=row["action"],
        detail=row["detail"],
    )
    return row["at"], entry


def _read_place(row: RowMapping) -> MessagePlace | None:
    if row["message_ts"] is None:
        return None
    return MessagePlace(
        channel=row["message_channel"], ts=row["message_ts"], permalink=row["message_permalink"]
    )


def _read_cancel(row: RowMapping) -> CancelRequest | None:
    if row["cancel_at"] is None:
        return None
    return CancelRequest(by=Actor(**row["cancel_by"]), at=row["cancel_at"])


def _snapshot_values(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "builds": None if snapshot.builds is None else sorted(snapshot.builds),
        "report": asdict(snapshot.report),
        "containers": _container_values(snapshot.containers),
        "proven": snapshot.proven,
    }


def _container_values(containers: Containers | None) -> list[dict[str, Any]] | None:
    # An empty read is a read: `containers and …` would make it none.
    return None if containers is None else [asdict(one) for one in containers.listed]


def _read_containers(stored: Any) -> Containers | None:
    if stored is None:
        return None
    return Containers(listed=tuple(Container(**one) for one in stored))


def _read_snapshot(stored: Mapping[str, Any]) -> Snapshot:
    builds = stored["builds"]
    return Snapshot(
        builds=None if builds is None else frozenset(builds),
        report=AppReport(**stored["report"]),
        containers=_read_containers(stored["containers"]),
        proven=stored.get("proven"),
    )
