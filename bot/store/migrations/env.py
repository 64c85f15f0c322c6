"""Alembic's entry: always on the connection that `bot.store.schema` hands over."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import TypeDecorator

from bot.store.tables import metadata


def render_plain(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    # A migration must not change when a class of ours does: it names the plain type.
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    render_item=render_plain,
)
with context.begin_transaction():
    context.run_migrations()
