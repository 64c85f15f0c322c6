"""Alembic's entry: always on the connection that `bot.store.schema` passes in."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import TypeDecorator


def render_plain(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    # A migration must not change when one of our classes does: it names the plain type.
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["tables"],
    render_as_batch=True,
    render_item=render_plain,
)
with context.begin_transaction():
    context.run_migrations()
