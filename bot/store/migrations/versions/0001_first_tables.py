"""The first tables: deployments, their trace, leases, logs and outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_RUNNING = sa.text(
    "phase IN ('starting', 'fetching', 'building', 'releasing', 'checking', 'cancelling')"
)


def upgrade() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("dokku_app", sa.Text(), nullable=False),
        sa.Column("repo", sa.Text()),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("sha", sa.Text()),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text()),
        sa.Column("live", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("evidence", sa.Text()),
        sa.Column("requested_by", sa.JSON(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("request_key", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("message_channel", sa.Text()),
        sa.Column("message_ts", sa.Text()),
        sa.Column("message_permalink", sa.Text()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("queued_at", _TIME),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("before", sa.JSON()),
        sa.Column("build_id", sa.Text()),
        sa.Column("exit_status", sa.BigInteger()),
        sa.Column("url", sa.Text()),
        sa.Column("previous_sha", sa.Text()),
        sa.Column("retry_of", sa.Text()),
        sa.Column("rollback_of", sa.Text()),
        sa.Column("rollback_sha", sa.Text()),
        sa.Column("after", sa.JSON()),
        sa.Column("corrected_from", sa.JSON()),
        sa.Column("late_over", sa.Boolean(), nullable=False),
        sa.Column("crash_told", sa.Boolean(), nullable=False),
        sa.Column("cancel_by", sa.JSON()),
        sa.Column("cancel_at", _TIME),
        sa.Column("max_duration_s", sa.Float(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.UniqueConstraint("request_key", name="uq_deployments_request_key"),
    )
    op.create_index("ix_deployments_phase", "deployments", ["phase"])
    op.create_index("ix_deployments_created_at", "deployments", ["created_at"])
    op.create_index("ix_deployments_finished_at", "deployments", ["finished_at"])
    op.create_index("ix_deployments_app", "deployments", ["server", "dokku_app", "created_at"])
    op.create_index("ix_deployments_message", "deployments", ["message_channel", "message_ts"])
    op.create_index(
        "uq_deployments_running",
        "deployments",
        ["server", "dokku_app"],
        unique=True,
        sqlite_where=_RUNNING,
        postgresql_where=_RUNNING,
    )
    op.create_table(
        "audit",
        sa.Column("seq", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.JSON(), nullable=False),
        sa.Column("through", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_deployment_id", "audit", ["deployment_id"])
    op.create_table(
        "leases",
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("replica", sa.Text()),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        _of_deployment("leases"),
        sa.PrimaryKeyConstraint("deployment_id", name="pk_leases"),
    )
    op.create_index("ix_leases_replica", "leases", ["replica"])
    op.create_table(
        "log_chunks",
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        _of_deployment("log_chunks"),
        sa.PrimaryKeyConstraint("deployment_id", "part", "seq", name="pk_log_chunks"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("next_at", _TIME, nullable=False),
        sa.Column("last_error", sa.Text()),
        _of_deployment("outbox"),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
        sa.UniqueConstraint("id", name="uq_outbox_id"),
    )
    op.create_index("ix_outbox_due", "outbox", ["lane", "state", "next_at"])
    op.create_index("ix_outbox_deployment_id", "outbox", ["deployment_id"])
    op.create_table(
        "endpoints",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("off_at", _TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name="pk_endpoints"),
    )


def _of_deployment(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["deployment_id"],
        ["deployments.id"],
        name=f"fk_{table}_deployment_id",
        ondelete="CASCADE",
    )
