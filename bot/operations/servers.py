"""Asks each Dokku server for its version: host key, login, permission and version in one answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from bot.config import KeyedServer, Settings
from bot.dokku.commands import version
from bot.dokku.connection import Connection, SshTarget
from bot.dokku.versions import capabilities
from bot.errors import DokkuError, Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What one server said."""

    ok: bool
    found: str
    mend: str = ""


async def ask_versions(settings: Settings, *, within_s: float) -> Mapping[str, ServerAnswer]:
    """Log in to all servers at once; by name, in the settings' order. Raises nothing."""
    servers = settings.targets()
    answers = await asyncio.gather(*(_ask(one, within_s) for one in servers.values()))
    return dict(zip(servers, answers, strict=True))


async def _ask(server: KeyedServer, within_s: float) -> ServerAnswer:
    where = f"{server.user}@{server.host}:{server.port}"
    target = SshTarget(
        host=server.host,
        port=server.port,
        user=server.user,
        key=server.key,
        passphrase=server.passphrase,
        known_hosts=server.known_hosts,
    )
    connection = Connection(server.name, target)
    try:
        answer = await connection.run(version(), timeout_s=within_s)
    except Unreachable as error:
        mend = "" if error.final else f"Check {where}, its firewall, and that sshd runs."
        return ServerAnswer(ok=False, found=str(error), mend=mend)
    except DokkuError as error:
        return ServerAnswer(ok=False, found=str(error), mend="Look at the server's load and disk.")
    finally:
        await connection.aclose()
    if answer.exit_status != 0:
        first = (answer.err or answer.out).strip().partition("\n")[0][:200]
        return ServerAnswer(
            ok=False,
            found=f"{where} answers `version` with {answer.exit_status}: {first}",
            mend="Is the key registered with `dokku ssh-keys:add`?",
        )
    return _read(where, answer.out)


def _read(where: str, out: str) -> ServerAnswer:
    can = capabilities(out)
    if can.version is None:
        return ServerAnswer(ok=True, found=f"{where} answers.", mend=can.standing())
    return ServerAnswer(ok=True, found=f"{where}, Dokku {can.version}.", mend=can.standing())
