"""A simulated Dokku behind its SSH server, and an SSH client."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncssh
import pytest

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.sshd import DokkuServer, open_dokku

SPEED = 200
OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40


@dataclass(frozen=True, kw_only=True)
class Result:
    exit: int | None
    out: str
    err: str
    signal: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Client:
    """One SSH connection as the `dokku` user."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self.connection = connection

    async def run(self, line: str) -> Result:
        async with asyncio.timeout(20):
            done = await self.connection.run(line, encoding=None, stdin=asyncssh.DEVNULL)
        return _result(done)

    async def start(self, line: str) -> asyncssh.SSHClientProcess[bytes]:
        process: asyncssh.SSHClientProcess[bytes] = await self.connection.create_process(
            line, encoding=None, stdin=asyncssh.DEVNULL
        )
        return process

    async def finish(self, process: asyncssh.SSHClientProcess[bytes]) -> Result:
        async with asyncio.timeout(20):
            return _result(await process.wait())

    async def sync(self, app: str, ref: str = NEW, flag: str = "--build") -> Result:
        return await self.run(sync_line(app, ref, flag))

    async def builds(self, app: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.run(f"builds:list {app} --format json")).json
        return found

    async def containers(self, app: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.run(f"ps:inspect {app}")).json
        return found

    async def metadata(self, app: str) -> str:
        return (await self.run(f"apps:report {app} --app-deploy-source-metadata")).out.strip()


def _result(done: Any) -> Result:
    return Result(
        exit=done.exit_status,
        out=(done.stdout or b"").decode(errors="replace"),
        err=(done.stderr or b"").decode(errors="replace"),
        signal=done.exit_signal[0] if done.exit_signal else None,
    )


def sync_line(app: str, ref: str = NEW, flag: str = "--build") -> str:
    words = ["git:sync", flag, app, f"https://git.example/acme/{app}.git", ref]
    return " ".join(word for word in words if word)


async def connect(server: DokkuServer, **options: Any) -> asyncssh.SSHClientConnection:
    given = {
        "username": "dokku",
        "client_keys": [asyncssh.import_private_key(server.client_key_pem)],
        "known_hosts": asyncssh.import_known_hosts(server.known_hosts),
        "config": None,
        "agent_path": None,
        "connect_timeout": 5,
        **options,
    }
    return await asyncssh.connect("127.0.0.1", server.port, **given)


@pytest.fixture
async def host(request: pytest.FixtureRequest) -> AsyncIterator[DokkuHost]:
    """Create a host; a test that watches a short phase sets its own speed."""
    made = DokkuHost(speed=getattr(request, "param", SPEED))
    yield made
    assert made.complaints == []


@pytest.fixture
async def server(host: DokkuHost) -> AsyncIterator[DokkuServer]:
    async with open_dokku(host) as opened:
        yield opened


@pytest.fixture
async def log_in(server: DokkuServer) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    async with AsyncExitStack() as stack:

        async def log_in() -> Client:
            return Client(await stack.enter_async_context(await connect(server)))

        yield log_in


@pytest.fixture
async def client(log_in: Callable[[], Awaitable[Client]]) -> Client:
    return await log_in()


@pytest.fixture
def app(host: DokkuHost) -> str:
    """Return the name of an app whose release of OLD serves."""
    host.create_app("myapp", deployed_sha=OLD)
    return "myapp"


@pytest.fixture
def fresh(host: DokkuHost) -> str:
    """Return the name of an app that was never deployed."""
    host.create_app("fresh")
    return "fresh"
