"""All tables, their column types, and what is stored as rows: deployments and audit entries.

A change of a table needs a migration: `make revision M="what changed"`. A test compares the
migrations with these tables.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    Table,
    Text,
    TypeDecorator,
    text,
)

from bot.deployments.dokku_facts import AppReport, Container, Containers, Snapshot
from bot.deployments.model import (
    Actor,
    Approval,
    AuditEntry,
    CancelRequest,
    Deployment,
    Failure,
    Live,
    MessagePlace,
    Phase,
    Trigger,
)
from bot.deployments.refs import Commit, Commits
from bot.deployments.states import RUNNING
from bot.names import bare_repo

REVISION = "0011"
"""The newest migration: it makes exactly these tables."""

COUNTER = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database counts up; SQLite does so for INTEGER keys only."""


class UtcTime(TypeDecorator[datetime]):
    """An instant: aware when it goes in, aware and in UTC when it comes out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant without a time zone cannot be stored: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        # SQLite keeps no zone: what was stored is UTC.
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text. What PostgreSQL cannot store is replaced: an odd byte must never hold up an end."""

    impl = Text()
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return value and value.replace("\x00", "\ufffd").encode(errors="replace").decode()


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

_running = ", ".join(f"'{phase}'" for phase in Phase if phase in RUNNING)

deployments = Table(
    "deployments",
    metadata,
    Column("id", Words, primary_key=True),
    Column("server", Words, nullable=False),
    Column("app", Words, nullable=False),
    Column("dokku_app", Words, nullable=False),
    Column("repo", Words),
    Column("ref", Words, nullable=False),
    Column("sha", Words),
    Column("ready", Boolean, nullable=False),
    Column("phase", Words, nullable=False),
    Column("failure", Words),
    Column("live", Words),
    Column("reason", Words),
    Column("evidence", Words),
    Column("requested_by", JSON, nullable=False),
    Column("trigger", Words, nullable=False),
    Column("request_key", Words, nullable=False, unique=True),
    Column("channel", Words, nullable=False),
    Column("message_channel", Words),
    Column("message_ts", Words),
    Column("message_permalink", Words),
    Column("created_at", UtcTime, nullable=False),
    Column("queued_at", UtcTime),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("attempt", Integer, nullable=False),
    Column("before", JSON(none_as_null=True)),
    Column("build_id", Words),
    Column("left_build", Words),
    Column("exit_status", BigInteger),
    Column("url", Words),
    Column("previous_sha", Words),
    Column("commits", JSON(none_as_null=True)),
    Column("retry_of", Words),
    Column("rollback_of", Words),
    Column("came_from", Words),
    Column("rollback_sha", Words),
    Column("after", JSON(none_as_null=True)),
    Column("corrected_from", JSON(none_as_null=True)),
    Column("late_over", Boolean, nullable=False),
    Column("crash_told", Boolean, nullable=False),
    Column("cancel_by", JSON(none_as_null=True)),
    Column("cancel_at", UtcTime),
    # Without a default the former release could not insert during an upgrade.
    Column("approval", Words, nullable=False, server_default="none"),
    Column("approved_by", JSON(none_as_null=True)),
    Column("max_duration_s", Float, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Index("ix_deployments_phase", "phase"),
    Index("ix_deployments_created_at", "created_at"),
    Index("ix_deployments_finished_at", "finished_at"),
    Index("ix_deployments_app", "server", "dokku_app", "created_at"),
    Index("ix_deployments_message", "message_channel", "message_ts"),
    Index(
        "uq_deployments_running",
        "server",
        "dokku_app",
        unique=True,
        sqlite_where=text(f"phase IN ({_running})"),
        postgresql_where=text(f"phase IN ({_running})"),
    ),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", COUNTER, primary_key=True, autoincrement=True),
    # No foreign key: the trace of a withdrawn request stays.
    Column("deployment_id", Words, nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", JSON, nullable=False),
    Column("through", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("detail", JSON, nullable=False),
)


def _of_deployment(*, primary_key: bool = False) -> Column[str]:
    return Column(
        "deployment_id",
        Words,
        ForeignKey("deployments.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


leases = Table(
    "leases",
    metadata,
    _of_deployment(primary_key=True),
    Column("fence", BigInteger, nullable=False),
    # NULL: no replica has it.
    Column("replica", Words, index=True),
    # By the database's clock (`database.NowMs`).
    Column("until_ms", BigInteger, nullable=False),
)

log_chunks = Table(
    "log_chunks",
    metadata,
    _of_deployment(primary_key=True),
    # Head, gap or tail (`logs.Part`).
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("line_count", BigInteger, nullable=False),
    # UTF-8 text, compressed by zlib; empty for the gap.
    Column("data", LargeBinary, nullable=False),
)


def delivery() -> Iterator[Column[Any]]:
    """What is sent to whom, and how far that has come."""
    yield Column("lane", Words, nullable=False)
    yield Column("kind", Words, nullable=False)
    yield Column("body", JSON, nullable=False)
    yield Column("state", Words, nullable=False)
    yield Column("tries", Integer, nullable=False)
    yield Column("created_at", UtcTime, nullable=False)
    yield Column("next_at", UtcTime, nullable=False)
    yield Column("last_error", Words)


outbox = Table(
    "outbox",
    metadata,
    # Written under the deployment's row lock, so it also is the order of its events.
    Column("seq", COUNTER, primary_key=True, autoincrement=True),
    Column("id", Words, nullable=False, unique=True),
    _of_deployment(),
    *delivery(),
    Index("ix_outbox_due", "lane", "state", "next_at"),
    Index("ix_outbox_deployment_id", "deployment_id"),
)

endpoints = Table(
    "endpoints",
    metadata,
    # Lanes that are turned off; a lane without a row is on.
    Column("lane", Words, primary_key=True),
    Column("off_at", UtcTime, nullable=False),
    Column("reason", Words, nullable=False),
)


_CONVERTED = {"requested_by", "approved_by", "before", "after", "corrected_from", "commits"}
_SAME = tuple(
    one.name
    for one in fields(Deployment)
    if one.name in deployments.c and one.name not in _CONVERTED
)
"""Fields stored as they are, in a column of the same name. A text enum is stored as its word."""


def fact_values(deployment: Deployment) -> dict[str, Any]:
    """All columns that only an owner writes; the others have their own functions."""
    return {name: getattr(deployment, name) for name in _SAME} | {
        "requested_by": asdict(deployment.requested_by),
        "approved_by": deployment.approved_by and asdict(deployment.approved_by),
        "before": deployment.before and _snapshot_values(deployment.before),
        "after": _container_values(deployment.after),
        "corrected_from": deployment.corrected_from and dict(deployment.corrected_from),
        "max_duration_s": deployment.max_duration.total_seconds(),
    }


def all_values(deployment: Deployment) -> dict[str, Any]:
    """The whole row."""
    others = place_values(deployment.message) | cancel_values(deployment.cancel)
    return fact_values(deployment) | others | commits_values(deployment.commits)


def place_values(place: MessagePlace | None) -> dict[str, Any]:
    """The columns of the live message's place."""
    return {
        "message_channel": place and place.channel,
        "message_ts": place and place.ts,
        "message_permalink": place and place.permalink,
    }


def commits_values(commits: Commits | None) -> dict[str, Any]:
    """The column of what a deployment ships."""
    return {"commits": commits and asdict(commits)}


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
        "approval": Approval(row["approval"]),
    }
    return Deployment(
        **({name: row[name] for name in _SAME} | enums | {"repo": _bare(row["repo"])}),
        requested_by=Actor(**row["requested_by"]),
        approved_by=Actor(**row["approved_by"]) if row["approved_by"] else None,
        before=_read_snapshot(row["before"]) if row["before"] else None,
        after=_read_containers(row["after"]),
        corrected_from=row["corrected_from"],
        max_duration=timedelta(seconds=row["max_duration_s"]),
        message=_read_place(row),
        cancel=_read_cancel(row),
        commits=_read_commits(row["commits"]),
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


def _read_commits(stored: Any) -> Commits | None:
    if stored is None:
        return None
    listed = tuple(Commit(**one) for one in stored["listed"])
    return Commits(**(stored | {"head": Commit(**stored["head"]), "listed": listed}))


def _read_cancel(row: RowMapping) -> CancelRequest | None:
    if row["cancel_at"] is None:
        return None
    return CancelRequest(by=Actor(**row["cancel_by"]), at=row["cancel_at"])


_CONTAINER_KEYS = tuple(one.name for one in fields(Container) if one.compare)


def _snapshot_values(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "builds": None if snapshot.builds is None else sorted(snapshot.builds),
        "report": asdict(snapshot.report),
        "containers": _container_values(snapshot.containers),
        "stopped": snapshot.containers is not None and snapshot.containers.stopped,
        "proven": snapshot.proven,
        **({"runner": snapshot.runner, "run": snapshot.run} if snapshot.runner else {}),
    }


def _container_values(containers: Containers | None) -> list[dict[str, Any]] | None:
    # An empty read is a read: `containers and …` would make it none.
    if containers is None:
        return None
    return [{key: getattr(one, key) for key in _CONTAINER_KEYS} for one in containers.listed]


def _read_containers(stored: Any, *, stopped: bool = False) -> Containers | None:
    if stored is None:
        return None
    return Containers(listed=tuple(Container(**one) for one in stored), stopped=stopped)


def _bare(address: str | None) -> str | None:
    """Rows of earlier releases may hold an address with its password."""
    return address and bare_repo(address)


def _read_snapshot(stored: Mapping[str, Any]) -> Snapshot:
    builds, report = stored["builds"], AppReport(**stored["report"])
    return Snapshot(
        builds=None if builds is None else frozenset(builds),
        report=replace(report, metadata=bare_repo(report.metadata)),
        containers=_read_containers(stored["containers"], stopped=stored.get("stopped", False)),
        proven=stored.get("proven"),
        runner=stored.get("runner", ""),
        run=stored.get("run", ""),
    )
