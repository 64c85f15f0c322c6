"""The durable truth: SQLAlchemy Core tables on SQLite or PostgreSQL.

Implements `bot.deployments.ports.Store` and `Outbox`; `engine.open_store` is the door. May import
the domain and the leaves, never another adapter.
"""
