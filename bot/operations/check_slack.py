"""What `deploybot check` asks Slack: the token, its scopes, the clock, events, user groups."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from slack_sdk.errors import SlackApiError

from bot.config.loading import Settings
from bot.operations.findings import Check, fine, warning, wrong
from bot.slack.client import NO_SUCH_GROUP, SlackClient, open_client
from bot.slack.manifest import SCOPES
from bot.slack.unreachable import NO_USABLE_ANSWER, answer_of, cause_of

CLOCK_DIFFERS_S = 60.0
"""A smaller difference may be the answer's way."""
UNREADABLE = (
    "slash command, events, interactivity and App Home cannot be read with a bot token: compare "
    "them with `deploybot manifest`."
)
_PASTE = "Paste `deploybot manifest` into the Slack app's settings and reinstall the app."


async def check_slack(settings: Settings, *, within_s: float) -> Sequence[Check]:
    """Everything that a bot token shows."""
    access = settings.slack
    async with open_client(access.bot_token, base_url=access.api_url) as client:
        try:
            async with asyncio.timeout(within_s):
                answer = await client.web.auth_test()
        except NO_USABLE_ANSWER as error:
            return [_refused("slack token", error, "SLACK_BOT_TOKEN", client.web.proxy)]
        kind = "a bot's token" if answer.get("bot_id") else "a user's token"
        found = f"@{answer.get('user', '?')} in {answer.get('team', '?')}, {kind}."
        token = fine("slack token", found)
        if not answer.get("bot_id"):
            fix = "Copy the Bot User OAuth Token (xoxb-…) of OAuth & Permissions."
            token = wrong("slack token", found, fix)
        checks = [
            token,
            _check_scopes(_header(answer.headers, "x-oauth-scopes")),
            # `apps.manifest.export` takes only a configuration token of an app's owner.
            fine("slack manifest", UNREADABLE),
            *_check_clock(_header(answer.headers, "date"), datetime.now(UTC)),
            await _check_events(client, access.app_token, within_s),
        ]
        checks += await _check_channels(client, settings, within_s)
        return [*checks, *await _check_groups(client, settings, within_s)]


async def _check_events(client: SlackClient, app_token: str | None, within_s: float) -> Check:
    what = "slack events"
    if app_token is None:
        return fine(what, "HTTP mode: Slack must be able to reach POST /slack/events.")
    try:
        async with asyncio.timeout(within_s):
            await client.web.apps_connections_open(app_token=app_token)
    except NO_USABLE_ANSWER as error:
        return _refused(what, error, "SLACK_APP_TOKEN", client.web.proxy)
    return fine(what, "Socket Mode works.")


async def _check_channels(
    client: SlackClient, settings: Settings, within_s: float
) -> Sequence[Check]:
    """Whether the bot is in the channels that also get results: it reads one message of each."""
    found = []
    for channel in sorted(settings.catalog().notify_channels()):
        what = f"notify {channel}"
        try:
            async with asyncio.timeout(within_s):
                await client.web.conversations_history(channel=channel, limit=1)
        except NO_USABLE_ANSWER as error:
            answer = answer_of(error) if isinstance(error, SlackApiError) else None
            code = answer["error"] if answer is not None else "no answer"
            fix = "Invite the bot there (`/invite`), or take the channel out of `notify`."
            found.append(wrong(what, f"results can't be posted there: {code}.", fix))
        else:
            found.append(fine(what, "the bot is in the channel."))
    return found


async def _check_groups(
    client: SlackClient, settings: Settings, within_s: float
) -> Sequence[Check]:
    """The user groups in `deployers` and `approvers`. Members of a missing one may not deploy."""
    groups = sorted(one for one in settings.catalog().named() if one.startswith("S"))
    found = await asyncio.gather(*(_check_group(client, one, within_s) for one in groups))
    if groups and all(one is None for one in found):
        return [fine("slack groups", f"{', '.join(groups)}: there.")]
    return [one for one in found if one is not None]


async def _check_group(client: SlackClient, group: str, within_s: float) -> Check | None:
    what = f"slack group {group}"
    try:
        async with asyncio.timeout(within_s):
            answer = await client.web.usergroups_users_list(usergroup=group)
    except NO_USABLE_ANSWER as error:
        refusal = answer_of(error) if isinstance(error, SlackApiError) else None
        code = refusal["error"] if refusal is not None else "no answer"
        if code in NO_SUCH_GROUP:
            fix = "Correct it in `deployers` or `approvers`: a deleted group has no members."
            return wrong(what, "Slack knows no such user group.", fix)
        return warning(
            what, f"could not be read ({code}).", "Its members may do nothing till then."
        )
    if not answer.get("users"):
        return warning(what, "it has no members.", "Only others in the list may deploy or approve.")
    return None


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
        return (fine(what, "this machine's clock agrees with Slack's."),)
    way = "ahead of" if ahead > 0 else "behind"
    found = f"this machine's clock is {abs(ahead):.0f} s {way} Slack's."
    fix = "Set it by NTP: in HTTP mode, requests count only within 5 minutes."
    return (wrong(what, found, fix),)


def _check_scopes(granted: str | None) -> Check:
    """What the installed app may do, against the manifest of this release."""
    what = "slack scopes"
    if granted is None:
        return warning(what, "unknown; Slack does not list the granted scopes.")
    has = {scope.strip() for scope in granted.split(",")} - {""}
    missing, extra = sorted(set(SCOPES) - has), sorted(has - set(SCOPES))
    if missing:
        why = "; ".join(f"{scope} ({SCOPES[scope]})" for scope in missing)
        return wrong(what, f"missing: {why}.", _PASTE)
    if extra:
        found = f"all granted, and more than the manifest asks for: {', '.join(extra)}."
        return warning(what, found, _PASTE)
    return fine(what, "all granted, as in the manifest.")


def _refused(what: str, error: Exception, setting: str, proxy: str | None) -> Check:
    answer = answer_of(error) if isinstance(error, SlackApiError) else None
    if answer is not None:
        fix = f"Copy {setting} from the Slack app's settings again."
        return wrong(what, f"Slack refuses: {answer['error']}.", fix)
    cause = cause_of(error, proxy=proxy)
    return wrong(what, f"no answer: {cause.found}", cause.fix)
