"""All tables and their column types. A change needs a migration: `make revision M="what changed"`.

A test compares the migrations with these tables.
"""

from datetime import UTC, datetime

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
    Table,
    Text,
    TypeDecorator,
    text,
)

from bot.deployments.model import Phase
from bot.deployments.states import RUNNING

REVISION = "0001"
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
        if value is None:
            return None
        return value.replace("\x00", "\ufffd").encode(errors="replace").decode()


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
    Column("exit_status", BigInteger),
    Column("url", Words),
    Column("previous_sha", Words),
    Column("retry_of", Words),
    Column("rollback_of", Words),
    Column("rollback_sha", Words),
    Column("after", JSON(none_as_null=True)),
    Column("corrected_from", JSON(none_as_null=True)),
    Column("late_over", Boolean, nullable=False),
    Column("crash_told", Boolean, nullable=False),
    Column("cancel_by", JSON(none_as_null=True)),
    Column("cancel_at", UtcTime),
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
    # By the database's clock (`leases.NowMs`).
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

outbox = Table(
    "outbox",
    metadata,
    # Written under the deployment's row lock, so it also is the order of its events.
    Column("seq", COUNTER, primary_key=True, autoincrement=True),
    Column("id", Words, nullable=False, unique=True),
    _of_deployment(),
    Column("lane", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("body", JSON, nullable=False),
    Column("state", Words, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("next_at", UtcTime, nullable=False),
    Column("last_error", Words),
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
