"""`deploybot check`: try everything that the bot needs, one line each. Changes nothing anywhere."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from bot.config.loading import Settings
from bot.config.mistakes import read_all
from bot.dokku.limits import SshLimits
from bot.errors import BotError, ConfigError
from bot.operations.check_servers import check_servers
from bot.operations.check_slack import check_slack
from bot.operations.database import check_database, open_records
from bot.operations.findings import CONFIG, Check, fine, sentence, warning, wrong
from bot.operations.printing import redactor_at_hand
from bot.redaction import Redactor
from bot.webhooks.sender import refusal

ANSWER_WITHIN_S = 15.0
"""Longest wait of each check."""
FREE_BYTES = 512 * 1024 * 1024
"""A deployment's log has up to 16 MB."""


async def run_checks(
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    ssh_limits: SshLimits | None = None,
) -> Sequence[Check]:
    """Run all checks. Only what a wrong setting belongs to is left out."""
    settings, errors = read_all(os.environ if environ is None else environ, folder or Path.cwd())
    mask = redactor_at_hand().text
    config = [wrong(CONFIG, _problem(one, mask), mask(one.fix)) for one in errors]
    if settings is None:
        return [*config, await _check_git()]
    if not errors:
        config = [fine(CONFIG, f"complete ({settings.given.file or 'environment only'}).")]
    config = [*(warning(CONFIG, one) for one in settings.warnings()), *config]
    parts: Mapping[str, Awaitable[Check | Sequence[Check]]] = {
        "git": _check_git(),
        "database": _check_database(settings),
        "slack token": _check_slack(settings, errors),
        "dokku": _check_servers(settings, ssh_limits),
        "webhooks": _check_webhooks(settings),
    }
    groups = await asyncio.gather(*parts.values(), return_exceptions=True)
    done = [_also_failed(what, group) for what, group in zip(parts, groups, strict=True)]
    mask = Redactor(settings.secrets()).text  # an answer may repeat what was sent
    return [*config, *(one.masked(mask) for group in done for one in group)]


def _problem(error: ConfigError, mask: Callable[[str], str]) -> str:
    """Masked in parts: next to the setting's name, its explanation would look like a secret."""
    return str(ConfigError(error.setting, error.source, mask(error.problem), ""))


def _also_failed(what: str, checks: Check | Sequence[Check] | BaseException) -> Sequence[Check]:
    """Report an error that a check did not expect as its failure: the other checks still count."""
    if isinstance(checks, Check):
        return [checks]
    if not isinstance(checks, BaseException):
        return checks
    if not isinstance(checks, Exception):
        raise checks
    found = f"the check itself failed: {type(checks).__name__}: {sentence(checks)}"
    return [wrong(what, found, "Please report this as a bug of deploybot.")]


async def _check_git() -> Check:
    what = "git"
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        return warning(
            what,
            f"cannot be run: {error.strerror}. Deployments work, but no commit is known before "
            "Dokku has fetched it, and what waits for an approval cannot be approved.",
            "Install git where the bot runs, on its PATH.",
        )
    said, _ = await process.communicate()
    return fine(what, f"{said.decode(errors='replace').strip().removeprefix('git ')}.")


async def _check_database(settings: Settings) -> Sequence[Check]:
    what = "database"
    file = settings.sqlite_file
    folder = None if file is None else file.absolute().parent
    if file is not None and folder is not None and not file.exists() and folder.is_dir():
        if not os.access(folder, os.W_OK):
            fix = "Name a folder where the bot may write (DATABASE_URL)."
            return [wrong(what, f"{file} cannot be created: {folder} is not writable.", fix)]
        found = f"{file} does not exist yet; `deploybot run` creates it."
        return [fine(what, found), *_check_disk(folder)]
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            checked = fine(what, await check_database(settings))
    except ConfigError as error:
        return [wrong(what, f"{error.problem}.", error.fix)]
    except (BotError, TimeoutError) as error:
        full = any(words in str(error) for words in ("is full", "No space left"))
        fix = "Free space for it." if full else "Start the database, or correct DATABASE_URL."
        return [wrong(what, sentence(error), fix)]
    return [checked, *(_check_disk(folder) if folder is not None else ())]


def _check_disk(folder: Path) -> Sequence[Check]:
    """Only too little of it: everything else is usual."""
    free = shutil.disk_usage(folder).free
    if free >= FREE_BYTES:
        return ()
    found = f"only {free // (1024 * 1024)} MB are free for it."
    fix = "Free some: a full disk stops every deployment before it starts."
    return [warning("database disk", found, fix)]


async def _check_slack(settings: Settings, errors: Sequence[ConfigError]) -> Sequence[Check]:
    if any(one.setting.lower().startswith("slack_") for one in errors):
        return ()  # the mistake itself is reported
    return await check_slack(settings, within_s=ANSWER_WITHIN_S)


async def _check_servers(settings: Settings, limits: SshLimits | None) -> Sequence[Check]:
    return await check_servers(settings, within_s=ANSWER_WITHIN_S, limits=limits)


async def _check_webhooks(settings: Settings) -> Sequence[Check]:
    off: Mapping[str, str] = {}
    file = settings.sqlite_file
    if settings.endpoints() and (file is None or file.exists()):
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), open_records(settings) as store:
                off = await store.outbox.turned_off()
        except (BotError, TimeoutError):
            off = {}  # the check of the database reports it
    return [
        await _check_webhook(number, one.url, off.get(one.lane), settings)
        for number, one in enumerate(settings.endpoints(), start=1)
    ]


async def _check_webhook(number: int, url: str, off: str | None, settings: Settings) -> Check:
    parts = urlsplit(url)
    what = f"webhook {number}, {parts.hostname}"  # the whole address may be a secret
    if off is not None:
        fix = "Fix the receiver, then run: deploybot webhooks enable URL."
        return wrong(what, f"turned off: {off}.", fix)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of over 63 characters
        fix = "Correct the address, or fix DNS on this machine."
        return wrong(what, f"no address: {sentence(error)}", fix)
    allowed = settings.values.webhook_allow_private
    reasons = [refusal(str(entry[4][0]), allow_private=allowed) for entry in found]
    if reasons and all(reasons):
        fix = "Use a public address, or set DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE=true."
        return wrong(what, f"{reasons[0]}.", fix)
    found_ok = "the address is allowed; nothing was sent (`deploybot webhooks test` sends one)."
    return fine(what, found_ok)
