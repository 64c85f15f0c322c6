"""Which apps a server has, and which one a mistyped name means."""

import difflib
from collections.abc import Iterable, Sequence

from bot.clock import Clock
from bot.deployments.ports import Servers
from bot.errors import DokkuError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean …?` with the closest names, else how to list the apps."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(f"`{one}`" for one in near) + "?"
    return " `/deploy apps` lists the apps."


class AppNames:
    """The names of each server's apps, cached for a minute."""

    def __init__(self, *, servers: Servers, clock: Clock, keep_s: float = 60.0) -> None:
        self._servers = servers
        self._clock = clock
        self._keep_s = keep_s
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def names(self, server: str) -> Sequence[str]:
        """From the cache, else from the server. Raises DokkuError."""
        known = self._known.get(server)
        now = self._clock.monotonic()
        if known is not None and now - known[0] < self._keep_s:
            return known[1]
        names = tuple(await self._servers.get(server).apps())
        self._known[server] = (now, names)
        return names

    async def suggest(self, name: str, servers: Iterable[str]) -> str:
        """Like `did_you_mean`, among the apps of these servers; cached names during an outage."""
        known: list[str] = []
        for server in servers:
            try:
                known += await self.names(server)
            except DokkuError:
                known += self.cached(server)
        return did_you_mean(name, known)

    def cached(self, server: str) -> Sequence[str]:
        """The names read last, however old; empty when none were read."""
        known = self._known.get(server)
        return known[1] if known else ()
