"""All configured servers: name -> driver. Opened once, closed at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from bot.config.keys import SshTarget
from bot.deployments.ports import ServerHealth, Servers
from bot.dokku.connection import Connection, ConnectionsHook, Patience
from bot.dokku.driver import Driver
from bot.errors import ConfigError, Refused, Unreachable
from bot.redaction import Redactor

log = structlog.get_logger(__name__)

_AGAIN_S = 5.0
"""Between logins to a server that did not answer, while nobody asks it anything."""


class DokkuServers(Servers):
    """Implements the port."""

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        first_logins: Mapping[str, asyncio.Task[Refused | None]],
    ) -> None:
        self._drivers = dict(drivers)
        self._first_logins = dict(first_logins)

    def names(self) -> Sequence[str]:
        return list(self._drivers)

    def get(self, name: str) -> Driver:
        return self._drivers[name]

    def health(self) -> ServerHealth:
        """Of each server: None when its last question was answered, else the sentence why not."""
        return {name: driver.health for name, driver in self._drivers.items()}

    async def refused(self, within_s: float | None = None) -> tuple[str, Refused] | None:
        """A server that refused the bot at its first login, with its name.

        None: no server did, as far as they have answered within this time (None: all have).
        """
        logins = self._first_logins.values()
        if logins:
            await asyncio.wait(logins, timeout=within_s)
        for name, login in self._first_logins.items():
            if login.done() and (refusal := login.result()) is not None:
                return name, refusal
        return None


@asynccontextmanager
async def open_servers(
    targets: Mapping[str, SshTarget],
    redactor: Redactor,
    *,
    patience: Patience | None = None,
    on_connections: ConnectionsHook | None = None,
) -> AsyncIterator[DokkuServers]:
    """Log in everywhere, in the background: a server that is down holds nobody up.

    ConfigError: a key or host key that cannot be used.
    """
    # Its INFO lines quote every command.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    connections = [
        await _connection(name, target, patience, on_connections)
        for name, target in targets.items()
    ]
    warming = {each.name: asyncio.create_task(_warm_up(each)) for each in connections}
    trying = [asyncio.create_task(_try_again(each, warming[each.name])) for each in connections]
    tasks = [*warming.values(), *trying]
    try:
        drivers = {each.name: Driver(each, redactor=redactor) for each in connections}
        yield DokkuServers(drivers, warming)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(connection.aclose() for connection in connections))


async def _connection(
    name: str,
    target: SshTarget,
    patience: Patience | None,
    on_connections: ConnectionsHook | None,
) -> Connection:
    try:
        # An encrypted key keeps the CPU for 0.1 s.
        return await asyncio.to_thread(
            Connection, name, target, patience=patience, on_connections=on_connections
        )
    except ValueError as err:
        raise ConfigError(
            f"servers.{name}",
            "settings",
            str(err).rstrip("."),
            "Check ssh_key, ssh_key_passphrase and known_hosts of this server.",
        ) from err


async def _warm_up(connection: Connection) -> Refused | None:
    try:
        await connection.warm_up()
    except Refused as refusal:
        return refusal
    except Unreachable as err:
        log.warning("server_unreachable", server=connection.name, why=str(err))
    return None


async def _try_again(connection: Connection, first: asyncio.Task[Refused | None]) -> None:
    """What `/readyz` says of a server must not wait for the next question to it."""
    if await first is not None:
        return
    while True:
        await asyncio.sleep(_AGAIN_S)
        if connection.health is not None:
            # The sentence is kept where `/readyz` finds it.
            with suppress(Unreachable):
                await connection.warm_up()
