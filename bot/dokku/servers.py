"""All configured servers: name -> driver. Opened once, closed at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from bot.deployments.ports import ServerHealth, Servers
from bot.dokku.connection import Connection, ConnectionsHook, Patience, SshTarget
from bot.dokku.driver import Driver
from bot.errors import ConfigError, Unreachable
from bot.redaction import Redactor

log = structlog.get_logger(__name__)


class DokkuServers(Servers):
    """Implements the port."""

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        self._drivers = dict(drivers)

    def names(self) -> Sequence[str]:
        return list(self._drivers)

    def get(self, name: str) -> Driver:
        return self._drivers[name]

    def health(self) -> ServerHealth:
        """Of each server: None when its last question was answered, else the sentence why not."""
        return {name: driver.health for name, driver in self._drivers.items()}


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
    warming = [asyncio.create_task(_warm_up(connection)) for connection in connections]
    try:
        yield DokkuServers({each.name: Driver(each, redactor=redactor) for each in connections})
    finally:
        for task in warming:
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
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


async def _warm_up(connection: Connection) -> None:
    try:
        await connection.warm_up()
    except Unreachable as err:
        log.warning("server_unreachable", server=connection.name, why=str(err))
