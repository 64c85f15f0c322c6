"""The tables of locks and who waits for them, of notices, replicas, releases and requests."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, Table

from bot.store.tables import COUNTER, UtcTime, Words, delivery, metadata

locks = Table(
    "locks",
    metadata,
    # Both empty: a lock on every app.
    Column("server", Words, primary_key=True),
    Column("dokku_app", Words, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("app", Words, nullable=False),
    Column("holder", JSON, nullable=False),
    Column("reason", Words, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime),
    Column("channel", Words, nullable=False),
)

followers = Table(
    "followers",
    metadata,
    Column("server", Words, primary_key=True),
    Column("dokku_app", Words, primary_key=True),
    Column("user", Words, primary_key=True),
    Column("app", Words, nullable=False),
    Column("since", UtcTime, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    # Like the outbox, for what is not about one deployment.
    Column("seq", COUNTER, primary_key=True, autoincrement=True),
    Column("id", Words, nullable=False, unique=True),
    Column("receiver", Words, nullable=False),
    *delivery(),
    Index("ix_notices_due", "lane", "state", "next_at"),
)

replicas = Table(
    "replicas",
    metadata,
    Column("replica", Words, primary_key=True),
    # How many deployments it drives.
    Column("running", Integer, nullable=False),
    # Its last heartbeat, by the database's clock (`database.NowMs`).
    Column("seen_ms", BigInteger, nullable=False),
    # Whether Slack's requests reach it; a former release does not say.
    Column("listens", Boolean, nullable=True),
    # Ids of the deployments that it is posting; empty while a former release runs.
    Column("posting", Words, nullable=True),
)

releases = Table(
    "releases",
    metadata,
    # A revision of these tables, and the oldest one whose release works with them.
    Column("revision", Words, primary_key=True),
    Column("works_since", Words, nullable=False),
)

shell_requests = Table(
    "shell_requests",
    metadata,
    # What `deploybot deploy`, `retry` and `rollback` left for the bot, until the answer was read.
    Column("id", Words, primary_key=True),
    Column("body", JSON, nullable=False),
    # Both by the database's clock (`database.NowMs`).
    Column("until_ms", BigInteger, nullable=False),
    Column("taken_until_ms", BigInteger),
    # The answer: one of them.
    Column("deployment_id", Words),
    Column("refusal", Words),
)

handled = Table(
    "handled",
    metadata,
    # The key of a request of Slack's that some replica handles or has handled.
    Column("key", Words, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Index("ix_handled_at", "at"),
)

WORKS_SINCE = "0001"
"""Migrations only add: the release of this revision, and each one since, works with the tables."""
