"""What `deploybot check` asks each Dokku server. Every question only reads."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import asyncssh

from bot.config.loading import Settings
from bot.deployments.app_names import did_you_mean
from bot.deployments.model import AppPolicy, Deployment
from bot.deployments.ports import Catalog, Dokku
from bot.deployments.refs import CannotTell, Found, NotThere, RefAnswer
from bot.dokku.commands import RUNNER_CLIENT
from bot.dokku.limits import SshLimits
from bot.errors import BotError, Declined, DokkuError, OtherScheduler
from bot.git import GitRefs
from bot.operations.database import open_records
from bot.operations.findings import Check, State, fine, sentence, warning, wrong
from bot.operations.servers import READABLE, AskedServers, ServerAnswer, ask_versions
from bot.ssh_target import SshTarget

AT_ONCE = 4
"""Apps of one server that are asked about at the same time: a question costs it a container."""
CLOCK_DIFFERS = timedelta(seconds=10)
"""A record is made within half a second of the start, and a login takes a few."""
RECENT = 50
_FRACTION = re.compile(r"(\.\d{6})\d+")

Started = Sequence[Deployment]


async def check_servers(
    settings: Settings, *, within_s: float, limits: SshLimits | None = None
) -> Sequence[Check]:
    """All checks of all servers, in the settings' order."""
    answers = await ask_versions(settings, within_s=within_s, limits=limits)
    checks: list[Check] = []
    async with aclosing(AskedServers(settings, limits)) as servers:
        groups = await asyncio.gather(
            *(
                _check_server(name, answer, settings, servers.get(name), within_s)
                for name, answer in answers.items()
            )
        )
    for group in groups:
        checks += group
    return checks


async def _check_server(
    name: str, answer: ServerAnswer, settings: Settings, dokku: Dokku, within_s: float
) -> Sequence[Check]:
    what, target = f"dokku {name}", settings.servers[name]
    if not answer.ok:
        return [wrong(what, answer.found, await _how_to_pin(answer, target, within_s))]
    state = State.WARNING if answer.limited else State.OK
    checks = [
        Check(what=what, state=state, found=answer.found, fix=answer.fix),
        fine(f"{what} host key", f"{_pinned(target)}, as in known_hosts."),
    ]
    if answer.config is not None:
        # Never wrong: deployments work without it.
        readable = answer.config.startswith(READABLE)
        shown = fine if readable else warning
        checks.append(shown(f"{what} config", answer.config))
    checks.append(await _check_clock(f"{what} clock", name, settings, dokku, within_s))
    try:
        async with asyncio.timeout(within_s * 4):
            known = await dokku.apps()
            if dokku.runner:
                checks.append(await _check_runner(f"{what} runner", known, dokku))
            return [*checks, *await _check_apps(name, settings, known, dokku)]
    except (DokkuError, TimeoutError) as error:
        found = f"its apps could not be read: {sentence(error)}"
        return [*checks, wrong(what, found, "Check the server's load and disk.")]


# --- the host key


def _pinned(target: SshTarget) -> str:
    keys, authorities, *_ = asyncssh.match_known_hosts(
        target.known_hosts, target.host, "", target.port
    )
    shown = [f"{one.get_algorithm()} {one.get_fingerprint()}" for one in (*keys, *authorities)]
    return ", ".join(shown) or "a line about its address"


async def _how_to_pin(answer: ServerAnswer, target: SshTarget, within_s: float) -> str:
    """Which key the server shows, and how to be sure that it is its own."""
    if answer.refused is None or answer.refused.setting != "known_hosts":
        return answer.fix
    try:
        async with asyncio.timeout(within_s):
            key = await asyncssh.get_server_host_key(target.host, target.port, config=None)
    except (OSError, asyncssh.Error, TimeoutError):
        key = None
    if key is None:
        return answer.fix
    where = target.host if target.port == 22 else f"[{target.host}]:{target.port}"  # noqa: PLR2004
    line = f"{where} {key.export_public_key().decode().strip()}"
    return (
        f"It shows {key.get_algorithm()} {key.get_fingerprint()}. If `ssh-keygen -lf "
        f"/etc/ssh/ssh_host_*_key.pub` prints the same on the server itself, known_hosts is: {line}"
    )


# --- the clock


async def _check_clock(
    what: str, name: str, settings: Settings, dokku: Dokku, within_s: float
) -> Check:
    """No command of Dokku prints the time. Its record of a deployment has that of its start."""
    not_yet = "not measured yet: the record of a deployment by this bot shows it."
    try:
        async with asyncio.timeout(within_s):
            if not await dokku.keeps_records():
                return fine(what, "cannot be measured: Dokku before 0.38 keeps no records.")
            measured = await _measure(await _started(name, settings), dokku)
    except (BotError, TimeoutError) as error:
        return fine(what, f"not measured: {sentence(error)}")
    if measured is None:
        return fine(what, not_yet)
    ahead, row = measured
    when = f"at the start of {row.id}, {row.started_at:%Y-%m-%d %H:%M} UTC"
    if abs(ahead) < CLOCK_DIFFERS:
        return fine(what, f"agreed with the bot's {when}.")
    way = "ahead of" if ahead > timedelta(0) else "behind"
    found = f"was {abs(ahead).total_seconds():.0f} s {way} the bot's {when}."
    return warning(what, found, "Set both by NTP: times in logs and records cannot be compared.")


async def _started(name: str, settings: Settings) -> Started:
    """Newest first. Of a second start only the first one's time is known."""
    file = settings.sqlite_file
    if file is not None and not file.exists():
        return ()
    async with open_records(settings) as store:
        recent = await store.recent(server=name, limit=RECENT)
    return [one for one in recent if one.started_at and one.build_id and one.attempt == 1]


async def _measure(started: Started, dokku: Dokku) -> tuple[timedelta, Deployment] | None:
    """How far the server's clock is ahead, by the newest deployment that Dokku still records."""
    asked: dict[str, Mapping[str, str]] = {}
    for row in started:
        if row.dokku_app not in asked:
            records = await dokku.builds(row.dokku_app)
            asked[row.dokku_app] = {one.id: one.started_at for one in records}
        began = asked[row.dokku_app].get(row.build_id or "")
        instant = _instant(began or "")
        if instant is not None and row.started_at is not None:
            return instant - row.started_at, row
    return None


def _instant(text: str) -> datetime | None:
    """RFC 3339 with nanoseconds; None: not an instant with a time zone."""
    try:
        instant = datetime.fromisoformat(_FRACTION.sub(r"\1", text))
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


# --- apps


async def _check_runner(what: str, known: Sequence[str], dokku: Dokku) -> Check:
    """Its SSH client is not tried: that would start a container."""
    if not await dokku.keeps_records():
        found = "the setting `runner` needs Dokku 0.38 or newer, so nothing can be deployed."
        return wrong(what, found, "Upgrade Dokku, or remove the setting.")
    if dokku.runner not in known:
        fix = "Create it (docs/runner.md), or correct the setting `runner`."
        meant = did_you_mean(dokku.runner, known).strip()
        found = f"the server has no app {dokku.runner}, so nothing can be deployed."
        return wrong(what, found, f"{meant} {fix}".strip())
    return fine(
        what,
        f"the app {dokku.runner} exists. Whether its SSH client can log in shows "
        f"`dokku run {dokku.runner} {RUNNER_CLIENT} version` on the server.",
    )


async def _check_apps(
    name: str, settings: Settings, known: Sequence[str], dokku: Dokku
) -> Sequence[Check]:
    """The apps with a table; without any, one app of the server as a sample."""
    catalog = settings.catalog()
    policies = [one for one in catalog.listed() if one.server == name]
    if not policies and known:
        try:
            policies = [catalog.policy(known[0], name)]
        except Declined:
            return ()  # only listed apps, and none is listed here
    refs = GitRefs(settings.git_credentials, repositories=settings.repositories())
    gate = asyncio.Semaphore(AT_ONCE)

    async def checked(policy: AppPolicy) -> Check:
        several = len(settings.servers) > 1
        what = f"app {policy.app} on {name}" if several else f"app {policy.app}"
        async with gate:
            try:
                return await _check_app(what, policy, known, catalog, dokku, refs)
            except OtherScheduler as error:
                return wrong(what, str(error))
            except DokkuError as error:
                return warning(what, sentence(error))

    return await asyncio.gather(*map(checked, policies))


async def _check_app(
    what: str,
    policy: AppPolicy,
    known: Sequence[str],
    catalog: Catalog,
    dokku: Dokku,
    refs: GitRefs,
) -> Check:
    if policy.dokku_app not in known:
        fix = did_you_mean(policy.dokku_app, known).strip()
        return wrong(what, f"the server has no app {policy.dokku_app}.", fix)
    repo = catalog.repo_for(policy) or (await dokku.report(policy.dokku_app)).repo
    if repo is None:
        fix = "Set `repo` in its table, or DEPLOYBOT_REPO_TEMPLATE."
        return wrong(what, "no repository is known, so it cannot be deployed.", fix)
    containers = await dokku.containers(policy.dokku_app)
    if containers is None:
        return warning(what, "its containers could not be read, and prove every result.")
    running = sum(one.running for one in containers.listed)
    ref = policy.default_ref or "HEAD"
    return _check_repo(what, repo, ref, await refs.resolve(repo, ref), f"{running} running")


def _check_repo(what: str, repo: str, ref: str, answer: RefAnswer, seen: str) -> Check:
    match answer:
        case Found(sha=sha, branch=branch):
            return fine(what, f"{repo}, {branch or ref} is {sha[:7]}; {seen}.")
        case NotThere():
            fix = "Correct `default_ref`." if ref != "HEAD" else "Push a branch to it."
            return wrong(what, f"{repo} has no branch, tag or commit {ref}.", fix)
        case CannotTell(why):
            found = f"{repo} cannot be read from here: {why}."
            fix = "Commits are not known before Dokku fetches them. See DEPLOYBOT_GIT_CREDENTIALS."
            return warning(what, found, fix)
        case _:
            return warning(what, f"{repo}: {ref} is ambiguous.", "Name a branch in `default_ref`.")
