"""The durable truth: SQLAlchemy Core tables on SQLite or PostgreSQL."""
