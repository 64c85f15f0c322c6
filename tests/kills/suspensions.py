"""A bot that is suspended (SIGSTOP) at a chosen call, for longer than its lease, and continued.

Alone on SQLite, it goes on with its work. Of two on PostgreSQL, the other one takes over, and the
first one finds that when it is continued. Either way nothing is lost, doubled or untrue.
"""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bot.simulators.patience import in_time
from tests.kills.deaths import AFTER, BEFORE, DIED, Death, MortalRun
from tests.kills.stories import SETTINGS, deploy, unexpected
from tests.kills.world import a_run, open_lives
from tests.support.bot_processes import an_app
from tests.support.postgres import postgres_server

POINTS = (
    (AFTER, "store.create"),
    (AFTER, "slack.post"),
    (BEFORE, "store.place_message"),
    (AFTER, "leases.claim"),
    (AFTER, "git.resolve"),
    (BEFORE, "store.save queued > starting"),
    (AFTER, "store.save queued > starting"),
    (BEFORE, "ssh git:sync"),
    (AFTER, "ssh git:sync"),
    (BEFORE, "logs.append"),
    (BEFORE, "slack.update"),
    (AFTER, "slack.update"),
    (BEFORE, "store.save * > checking"),
    (BEFORE, "store.save checking > succeeded"),
    (AFTER, "store.save checking > succeeded"),
    (AFTER, "slack.post_reply"),
    (BEFORE, "outbox.delivered"),
    (AFTER, "webhook.post"),
)
"""Not right before a post: what is looked at there cannot be looked at again on the wire."""
SUSPENDED_S = 8.0
"""Longer than any lease or hold here."""
LOOK_S = 0.05


async def suspend_everywhere() -> AsyncIterator[tuple[str, list[str]]]:
    """Each point in turn, alone and with another bot: its name, and what is wrong afterwards."""
    with postgres_server() as server:
        for when, call in POINTS:
            death = Death(when=when, call=call, armed=False, sign=signal.SIGSTOP)
            yield f"{death}, alone", await suspend(death)
            yield f"{death}, with another", await suspend(death, server.new_schema())


async def suspend(death: Death, url: str | None = None) -> list[str]:
    """Suspend a bot there and continue it. `url`: of a database that another bot uses as well."""
    more = {} if url is None else {"DATABASE_URL": url}
    with tempfile.TemporaryDirectory(prefix="suspended-") as folder:
        apps = an_app("myapp"), an_app("guarded")
        async with open_lives(Path(folder), *apps, settings=SETTINGS, url=url) as it:
            begin = it.processes.begin_main
            bot = await begin(MortalRun(run=a_run(), death=death), **more)
            assert await bot.ready(), bot.last_lines
            it.arm()
            await deploy(it)
            async with in_time():
                while True:
                    if (Path(folder) / DIED).exists():
                        break
                    await asyncio.sleep(LOOK_S)
            if url is not None:
                other = await begin(a_run(), **more)
                assert await other.ready(), other.last_lines
            await asyncio.sleep(SUSPENDED_S)
            bot.send_signal(signal.SIGCONT)
            problems = await it.settled()
            return problems + unexpected(await it.store.recent(limit=100))
