"""Functions for processes that die while they use a database."""

import asyncio
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from bot.deployments.model import Event, Phase, Who
from bot.store import schema
from bot.store.engine import open_store, upgrade
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import StillClock, create, own, plan_both, said


@dataclass(frozen=True)
class Write:
    """Write until the process is killed, and print what was written: a word and an id a line."""

    url: str

    def __call__(self) -> int:
        asyncio.run(self._write_all())
        return 0

    async def _write_all(self) -> None:
        async with open_store(self.url, clock=StillClock(), planner=plan_both) as store:
            await asyncio.gather(*(self._write(store, number) for number in range(4)))

    async def _write(self, store: SqlStore, number: int) -> None:
        while True:
            deployment = await own(store, await create(store, dokku_app=f"app{number}"))
            _print("created", deployment.id)
            await store.logs.append(deployment.id, ["x" * 50] * 40, fence=deployment.fence)
            _print("logged", deployment.id)
            for phase in (Phase.STARTING, Phase.BUILDING, Phase.FAILED):
                deployment = await store.save(
                    replace(deployment, phase=phase),
                    was=deployment.phase,
                    by=Who.OWNER,
                    audit=said(phase.value),
                    event=Event(type=phase.value),
                )
                _print(phase.value, deployment.id)


@dataclass(frozen=True)
class Upgrade:
    """Upgrade a database, and die right before the upgrade is committed."""

    url: str

    def __call__(self) -> int:
        migrate = schema.migrate

        def migrate_and_die(connection: Connection, *, scripts: Path = schema.SCRIPTS) -> None:
            migrate(connection, scripts=scripts)
            os.kill(os.getpid(), signal.SIGKILL)

        schema.migrate = migrate_and_die
        asyncio.run(upgrade(self.url))
        return 0


def _print(word: str, deployment_id: str) -> None:
    # One write: a reader never sees half a line.
    os.write(1, f"{word} {deployment_id}\n".encode())
