"""Many simulated Dokku servers beside the first one, and the settings that name them."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.sshd import USER, DokkuServer, open_dokku
from bot.simulators.environment import LOOPBACK
from tests.scenarios.conftest import World

REPO = "storm"
"""All apps are deployed from this repository."""
EXPECTED: Mapping[str, tuple[str, str | None]] = {
    "ok": ("succeeded", None),
    "build_fails": ("failed", "build_failed"),
    "checks_fail": ("failed", "healthcheck_failed"),
    "crash_1s": ("failed", "crashed"),
}
"""Status and failure word of a deployment that nothing outside disturbed."""
FULL_SERVERS = 4
"""Every fourth server takes as many deployments at once, the others any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StormServer:
    """One server, and the apps on it."""

    name: str
    host: DokkuHost
    server: DokkuServer
    apps: Sequence[str] = field(default_factory=list)


@asynccontextmanager
async def open_servers(
    world: World, *, servers: int, apps: int, failing: float, speed: float, seed: int
) -> AsyncIterator[Sequence[StormServer]]:
    """Open that many servers with that many apps in all, a share of which fails.

    Writes the bot's settings file.
    """
    chance = random.Random(f"storm/{seed}")
    bad = [way for way in EXPECTED if way != "ok"]
    ways = [bad[n % len(bad)] if n < round(apps * failing) else "ok" for n in range(apps)]
    chance.shuffle(ways)
    forge = world.simulators.forge
    async with AsyncExitStack() as stack:
        found: list[StormServer] = []
        for number in range(servers):
            host = DokkuHost(speed=speed, refs=forge, seed=number)
            mine = [f"app-{n:03}" for n in range(number, apps, servers)]
            for name in mine:
                host.create_app(
                    name,
                    deployed_sha=forge.sha(REPO, "v1.0"),
                    behaviour=ways[int(name[-3:])],
                    repo=forge.url(REPO),
                )
            server = await stack.enter_async_context(open_dokku(host))
            found.append(StormServer(name=f"s{number:02}", host=host, server=server, apps=mine))
        (world.folder / "deploybot.toml").write_text(settings(found, forge.url(REPO)))
        yield found


def settings(servers: Sequence[StormServer], repo: str) -> str:
    """The settings file."""
    parts = []
    for number, one in enumerate(servers):
        most = FULL_SERVERS if number % FULL_SERVERS == 0 else 0
        parts.append(
            f"[servers.{one.name}]\n"
            f'host = "{LOOPBACK}"\n'
            f"port = {one.server.port}\n"
            f'user = "{USER}"\n'
            f'ssh_key = """{one.server.client_key_pem}"""\n'
            f'known_hosts = """{one.server.known_hosts}"""\n'
            f"max_running = {most}\n"
        )
        parts += [f'[apps.{app}]\nserver = "{one.name}"\nrepo = "{repo}"\n' for app in one.apps]
    return "\n".join(parts)
