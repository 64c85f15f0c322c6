"""The tables of locks, of the people who wait for an app, of notices, of handled requests."""

from sqlalchemy import JSON, Column, Index, Table

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

handled = Table(
    "handled",
    metadata,
    # The key of a request of Slack's that some replica handles or has handled.
    Column("key", Words, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Index("ix_handled_at", "at"),
)
