"""A second Dokku server, `staging`, with its own apps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.sshd import USER, DokkuServer, open_dokku
from bot.simulators.environment import LOOPBACK
from tests.scenarios.conftest import SPEED, World

SLOW_S = 8.0
NAME = "staging"


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """The host and its SSH side."""

    host: DokkuHost
    server: DokkuServer

    async def dies(self, how: str, slow_s: float = SLOW_S) -> None:
        """From now on it answers nobody in time; a slow one after `slow_s`."""
        match how:
            case "black hole":
                self.server.swallow_connections_for_test()
                self.server.stall_for_test()
            case "refused":
                await self.server.refuse_connections_for_test()
                await self.server.drop_connections_for_test()
            case _:
                self.host.delay_answers_for_test(slow_s)

    async def revives(self) -> None:
        """It answers again."""
        self.host.delay_answers_for_test(0.0)
        self.server.heal_for_test()
        await self.server.accept_connections_for_test()


@asynccontextmanager
async def open_second(world: World, *apps: str, max_running: int = 0) -> AsyncIterator[Second]:
    """Serve the same repositories from a second host, and write its settings for the bot."""
    forge = world.simulators.forge
    host = DokkuHost(speed=SPEED, refs=forge)
    for app in apps:
        host.create_app(app, deployed_sha=forge.sha(app), repo=forge.url(app))
        forge.commit(app, "Change something")
    async with open_dokku(host) as server:
        (world.folder / "deploybot.toml").write_text(
            f"[servers.{NAME}]\n"
            f'host = "{LOOPBACK}"\n'
            f"port = {server.port}\n"
            f'user = "{USER}"\n'
            f'ssh_key = """{server.client_key_pem}"""\n'
            f'known_hosts = """{server.known_hosts}"""\n'
            f"max_running = {max_running}\n"
        )
        yield Second(host=host, server=server)
    assert host.complaints == []
