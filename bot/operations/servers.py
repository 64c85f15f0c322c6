"""Ask Dokku servers for operators' commands: their version, or what is live."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.config.loading import Settings
from bot.deployments.ports import Dokku, Servers
from bot.dokku.app_secrets import read_config
from bot.dokku.commands import apps_list, capabilities, config_export, version
from bot.dokku.connection import Connection
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.dokku.reports import read_apps
from bot.dokku.servers import UnknownServer
from bot.errors import DokkuError, Refused, Unreachable
from bot.redaction import Redactor
from bot.ssh_target import SshTarget

_NOT_FOUND = 127
_NO_DOKKU = (
    "A shell answered instead of Dokku: the login is not the user `dokku`, or its key has no "
    "forced command. Set the user to `dokku`, and add the key with `dokku ssh-keys:add`."
)
_NOT_ADDED = "Is the key registered with `dokku ssh-keys:add`?"
READABLE = "readable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """The answer of one server."""

    ok: bool
    found: str
    fix: str = ""
    limited: bool = False
    """It works, with less than the newest tested version."""
    config: str | None = None
    """Whether its apps' config can be read, to mask it in logs; None: not tried."""
    refused: Refused | None = None
    """The setting that keeps the bot out."""


class AskedServers(Servers):
    """Servers for a single command: each is logged in to when it is first asked."""

    def __init__(self, settings: Settings, limits: SshLimits | None = None) -> None:
        # Its INFO lines quote every command.
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        self._targets = settings.servers
        self._limits = limits
        self._redactor = Redactor(settings.secrets())
        self._open: dict[str, Connection] = {}
        self._drivers: list[Driver] = []

    def names(self) -> Sequence[str]:
        return list(self._targets)

    def get(self, name: str) -> Dokku:
        if name not in self._targets:
            return UnknownServer(name)
        if name not in self._open:
            self._open[name] = Connection(name, self._targets[name], limits=self._limits)
        runner = self._targets[name].runner
        driver = Driver(self._open[name], redactor=self._redactor, runner=runner)
        self._drivers.append(driver)
        return driver

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(one.aclose() for one in self._drivers))
        await asyncio.gather(*(one.aclose() for one in self._open.values()))


async def ask_versions(
    settings: Settings, *, within_s: float, limits: SshLimits | None = None
) -> Mapping[str, ServerAnswer]:
    """Log in to all servers at once. By name, in the settings' order; never raises."""
    servers = settings.servers
    answers = await asyncio.gather(
        *(_ask(name, target, within_s, limits) for name, target in servers.items())
    )
    return dict(zip(servers, answers, strict=True))


async def _ask(
    name: str, target: SshTarget, within_s: float, limits: SshLimits | None = None
) -> ServerAnswer:
    where = f"{target.user}@{target.address}"
    connection = Connection(name, target, limits=limits)
    try:
        answer = await connection.run(version(), timeout_s=within_s)
        config = await _config(connection) if answer.exit_status == 0 else None
    except Unreachable as error:
        fix = error.fix or f"Check {where}, its firewall, and that sshd runs."
        refused = error if isinstance(error, Refused) else None
        return ServerAnswer(ok=False, found=error.problem, fix=fix, refused=refused)
    except DokkuError as error:
        return ServerAnswer(ok=False, found=str(error), fix="Check the server's load and disk.")
    finally:
        await connection.aclose()
    if answer.exit_status != 0:
        first = (answer.err or answer.out).strip().partition("\n")[0][:200]
        return ServerAnswer(
            ok=False,
            found=f"{where} answers `version` with {answer.exit_status}: {first}",
            fix=_NO_DOKKU if answer.exit_status == _NOT_FOUND else _NOT_ADDED,
        )
    can = capabilities(answer.out)
    found = f"{where} answers." if can.version is None else f"{where}, Dokku {can.version}."
    limited = not (can.recorded and can.records)
    return ServerAnswer(ok=True, found=found, fix=can.support(), limited=limited, config=config)


async def _config(connection: Connection) -> str | None:
    """Try it with one app. The answer is not kept."""
    within_s = connection.limits.secrets_s
    try:
        apps = read_apps((await connection.run(apps_list(), timeout_s=within_s)).out)
        if not apps:
            return None
        answer = await connection.run(config_export(apps[0]), timeout_s=within_s)
    except DokkuError:
        return _unreadable("it did not answer in time")
    if answer.exit_status != 0:
        return _unreadable(f"`config:export` ended with {answer.exit_status}")
    if read_config(answer.out) is None:
        return _unreadable("`config:export` did not answer with JSON")
    return f"{READABLE} (tried with {apps[0]}); config values are masked in everything shown."


def _unreadable(why: str) -> str:
    return f"not readable: {why}. Only what looks like a secret is masked in logs."
