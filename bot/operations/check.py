"""`deploybot check`: try everything that the bot needs, one line each."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from slack_sdk.errors import SlackApiError

from bot.config.loading import Settings, load_settings
from bot.errors import BotError, ConfigError
from bot.operations.database import check_database, open_records
from bot.operations.printing import redactor_at_hand
from bot.operations.servers import ask_versions
from bot.redaction import Redactor
from bot.slack.client import SlackClient, open_client
from bot.slack.manifest import SCOPES
from bot.slack.unreachable import NO_USABLE_ANSWER, answer_of, cause_of
from bot.webhooks.sender import refusal

ANSWER_WITHIN_S = 15.0
"""Longest wait of each check."""
CLOCK_DIFFERS_S = 60.0
"""A smaller difference may be the answer's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check."""

    what: str
    ok: bool
    found: str
    fix: str = ""

    def line(self) -> str:
        """As a line for people."""
        fix = f" {self.fix}" if self.fix else ""
        return f"{'ok   ' if self.ok else 'WRONG'}  {self.what}: {self.found}{fix}"

    def masked(self, mask: Callable[[str], str]) -> "Check":
        """Mask secrets in it."""
        return replace(self, found=mask(self.found), fix=mask(self.fix))

    def json(self) -> dict[str, object]:
        """As JSON for scripts."""
        # Clients read this field as `mend`.
        return {"check": self.what, "ok": self.ok, "found": self.found, "mend": self.fix}


async def run_checks(
    *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Sequence[Check]:
    """Run all checks. If the settings cannot be used, only their own check, which failed."""
    try:
        settings = load_settings(environ=environ, folder=folder)
    except ConfigError as error:
        mask = redactor_at_hand().text
        found = f"{error.source}: {error.setting}: {mask(error.problem)}."
        return [Check(what="config", ok=False, found=found, fix=mask(error.fix))]
    file = settings.given.file or "environment only"
    checks = [Check(what="config", ok=True, found=f"complete ({file}).")]
    checks += [
        Check(what="config", ok=True, found="warning.", fix=warning)
        for warning in settings.warnings()
    ]
    groups = await asyncio.gather(
        _check_database(settings),
        _check_slack(settings),
        _check_servers(settings),
        _check_webhooks(settings),
        return_exceptions=True,
    )
    names = ("database", "slack token", "dokku", "webhooks")
    done = [_also_failed(what, group) for what, group in zip(names, groups, strict=True)]
    mask = Redactor(settings.secrets()).text  # an answer may repeat what was sent
    return [*checks, *(one.masked(mask) for group in done for one in group)]


def _also_failed(what: str, checks: Sequence[Check] | BaseException) -> Sequence[Check]:
    """Report an error that a check did not expect as its failure: the other checks still count."""
    if not isinstance(checks, BaseException):
        return checks
    if not isinstance(checks, Exception):
        raise checks
    found = f"the check itself failed: {type(checks).__name__}: {_sentence(checks)}"
    fix = "Please report this as a bug of deploybot."
    return [Check(what=what, ok=False, found=found, fix=fix)]


async def _check_database(settings: Settings) -> Sequence[Check]:
    what = "database"
    file = settings.sqlite_file
    if file is not None and not file.exists() and file.absolute().parent.is_dir():
        return [
            Check(
                what=what, ok=True, found=f"{file} does not exist yet; `deploybot run` creates it."
            )
        ]
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return [Check(what=what, ok=True, found=await check_database(settings))]
    except ConfigError as error:
        return [Check(what=what, ok=False, found=f"{error.problem}.", fix=error.fix)]
    except (BotError, TimeoutError) as error:
        full = any(words in str(error) for words in ("is full", "No space left"))
        fix = "Free space for it." if full else "Start the database, or correct DATABASE_URL."
        return [Check(what=what, ok=False, found=_sentence(error), fix=fix)]


async def _check_slack(settings: Settings) -> Sequence[Check]:
    access = settings.slack
    checks: list[Check] = []
    async with open_client(access.bot_token, base_url=access.api_url) as client:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await client.web.auth_test()
        except NO_USABLE_ANSWER as error:
            return [_slack_refused("slack token", error, "SLACK_BOT_TOKEN", client.web.proxy)]
        found = f"@{answer.get('user', '?')} in {answer.get('team', '?')}."
        checks += [
            Check(what="slack token", ok=True, found=found),
            _check_scopes(_header(answer.headers, "x-oauth-scopes")),
            *_check_clock(_header(answer.headers, "date"), datetime.now(UTC)),
        ]
        checks += await _check_channels(client, settings)
        if access.app_token is None:
            found = "HTTP mode: Slack must be able to reach POST /slack/events."
            return [*checks, Check(what="slack events", ok=True, found=found)]
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await client.web.apps_connections_open(app_token=access.app_token)
        except NO_USABLE_ANSWER as error:
            refused = _slack_refused("slack events", error, "SLACK_APP_TOKEN", client.web.proxy)
            return [*checks, refused]
        return [*checks, Check(what="slack events", ok=True, found="Socket Mode works.")]


async def _check_channels(client: SlackClient, settings: Settings) -> Sequence[Check]:
    """Whether the bot is in the channels that also get results: it reads one message of each."""
    checks = []
    for channel in sorted(settings.catalog().notify_channels()):
        what = f"notify {channel}"
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await client.web.conversations_history(channel=channel, limit=1)
        except NO_USABLE_ANSWER as error:
            answer = answer_of(error) if isinstance(error, SlackApiError) else None
            code = answer["error"] if answer is not None else "no answer"
            fix = "Invite the bot there (`/invite`), or take the channel out of `notify`."
            found = f"results can't be posted there: {code}."
            checks.append(Check(what=what, ok=False, found=found, fix=fix))
        else:
            checks.append(Check(what=what, ok=True, found="the bot is in the channel."))
    return checks


def _header(headers: Mapping[str, object], name: str) -> str | None:
    value = next((value for key, value in headers.items() if key.lower() == name), None)
    return None if value is None else str(value)


def _check_clock(slack_date: str | None, now: datetime) -> Sequence[Check]:
    """Compare the clocks, as far as Slack's answer says what it shows."""
    try:
        ahead = (now - parsedate_to_datetime(slack_date or "")).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a time zone
        return ()
    what = "slack clock"
    if abs(ahead) < CLOCK_DIFFERS_S:
        return (Check(what=what, ok=True, found="this machine's clock agrees with Slack's."),)
    way = "ahead of" if ahead > 0 else "behind"
    return (
        Check(
            what=what,
            ok=False,
            found=f"this machine's clock is {abs(ahead):.0f} s {way} Slack's.",
            fix="Set it by NTP: in HTTP mode, requests count only within 5 minutes.",
        ),
    )


def _check_scopes(granted: str | None) -> Check:
    what = "slack scopes"
    if granted is None:
        return Check(what=what, ok=True, found="unknown; Slack does not list the granted scopes.")
    missing = sorted(set(SCOPES) - {scope.strip() for scope in granted.split(",")})
    if not missing:
        return Check(what=what, ok=True, found="all granted.")
    why = "; ".join(f"{scope} ({SCOPES[scope]})" for scope in missing)
    return Check(
        what=what,
        ok=False,
        found=f"missing: {why}.",
        fix="Paste `deploybot manifest` into the Slack app's settings and reinstall the app.",
    )


def _slack_refused(what: str, error: Exception, setting: str, proxy: str | None) -> Check:
    answer = answer_of(error) if isinstance(error, SlackApiError) else None
    if answer is not None:
        fix = f"Copy {setting} from the Slack app's settings again."
        return Check(what=what, ok=False, found=f"Slack refuses: {answer['error']}.", fix=fix)
    cause = cause_of(error, proxy=proxy)
    return Check(what=what, ok=False, found=f"no answer: {cause.found}", fix=cause.fix)


async def _check_servers(settings: Settings) -> Sequence[Check]:
    answers = await ask_versions(settings, within_s=ANSWER_WITHIN_S)
    checks: list[Check] = []
    for name, one in answers.items():
        checks.append(Check(what=f"dokku {name}", ok=one.ok, found=one.found, fix=one.fix))
        if one.config is not None:
            # Never a failure: deployments work without it.
            checks.append(Check(what=f"dokku {name} config", ok=True, found=one.config))
    return checks


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
        return Check(what=what, ok=False, found=f"turned off: {off}.", fix=fix)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of over 63 characters
        fix = "Correct the address, or fix DNS on this machine."
        return Check(what=what, ok=False, found=f"no address: {_sentence(error)}", fix=fix)
    allowed = settings.values.webhook_allow_private
    reasons = [refusal(str(entry[4][0]), allow_private=allowed) for entry in found]
    if reasons and all(reasons):
        fix = "Use a public address, or set DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE=true."
        return Check(what=what, ok=False, found=f"{reasons[0]}.", fix=fix)
    return Check(what=what, ok=True, found="the address is allowed; nothing was sent.")


def _sentence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time."
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
