"""SQL statements that are compiled once in a test process, whatever databases its tests open."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from bot.store import engine


class _CompiledOnce(dict[Any, Any]):
    """The compiled statements of all stores of this process, by the kind of their database.

    SQLAlchemy keeps them by the engine: each store would compile the same fifty again.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), compiled)


_KEPT = {"compiled_cache": _CompiledOnce()}


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """For a `conftest.py` to import."""
    with pytest.MonkeyPatch.context() as patch:
        create = partial(create_async_engine, execution_options=_KEPT)
        patch.setattr(engine, "create_async_engine", create)
        yield
