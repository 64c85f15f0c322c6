"""Slack's error codes as sentences for people.

Source: Slack docs, the "Errors" of each method.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bot.errors import MessageGone, SlackError

UNREACHABLE = "unreachable"
"""The bot's code: there was no connection, so nothing was sent."""
NO_ANSWER = "no_answer"
"""The bot's code: the call was sent and no answer came, so it may have worked."""

PASSING = frozenset(
    {
        UNREACHABLE,
        NO_ANSWER,
        "ratelimited",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "http_500",
        "http_502",
        "http_503",
        "http_504",
    }
)
"""Temporary errors: the same call may work later."""
PERHAPS_DONE = PASSING - {UNREACHABLE, "ratelimited"}
"""Slack's servers failed, perhaps after the call had worked."""

GONE = frozenset(
    {
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "is_inactive",
        "is_archived",
        "channel_not_found",
        "not_in_channel",
    }
)
"""Answers to an edit after which that message is not edited again."""

OUT = frozenset({"not_in_channel", "channel_not_found", "is_archived", "is_inactive"})
"""The bot was put out of the channel, or nobody can post there: it may come back."""

BAD_TOKEN = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "no_permission",
        "user_removed_from_team",
    }
)

_SENTENCES: Mapping[str, str] = {
    "not_in_channel": "I am not in this channel. Invite me: `/invite @{bot}`",
    "channel_not_found": (
        "I can't see this conversation. In a private channel, invite me: `/invite @{bot}`."
        " In a direct message between people I can't post; start a group one with me in it."
    ),
    "is_archived": "This channel is archived. Use another one.",
    "is_inactive": "This channel is archived or frozen. Use another one.",
    "messages_tab_disabled": "Direct messages to me are switched off. Use a channel.",
    "message_not_found": "The message was deleted.",
    "cant_update_message": "The message cannot be edited.",
    "edit_window_closed": "This workspace does not allow editing a message that old.",
    "thread_not_found": "The thread no longer exists.",
    "cannot_reply_to_message": "This message cannot have a thread.",
    "restricted_action_thread_locked": "This thread is locked.",
    "restricted_action_read_only_channel": "This channel is read-only. Use another one.",
    "restricted_action_thread_only_channel": "In this channel, posts are only allowed in threads.",
    "restricted_action_non_threadable_channel": "This channel has no threads.",
    "expired_trigger_id": "The form took too long to open. Please try again.",
    "exchanged_trigger_id": "Slack has already shown that form. Please try again.",
    "invalid_trigger_id": "Slack does not know that click. Please try again.",
    "hash_conflict": "The form has changed meanwhile. Please try again.",
    "not_found": "The form is no longer open.",
    "file_uploads_disabled": "Uploads are switched off in this workspace.",
    "posting_to_channel_denied": "I may not post files there: a setting does not allow it.",
    "file_upload_size_restricted": "This workspace does not allow files of that size.",
    "storage_limit_reached": "The workspace has no room for files.",
    "snippet_too_large": "The file is too large for Slack.",
    "message_limit_exceeded": "The workspace has sent too many messages.",
}
_FAMILIES: Mapping[str, str] = {
    "restricted_action": "A setting of this workspace does not let me post here.",
    "ekm_access_denied": "The administrators do not allow posting here.",
    "slack_connect": "Slack Connect does not allow it here.",
}


class RateLimited(SlackError):
    """Slack answered 429: no call of this method for `retry_after`."""

    def __init__(self, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__(
            "Slack limits how often I can do that."
            f" Try again in {retry_after.total_seconds():.0f} s.",
            code="ratelimited",
        )


def as_error(method: str, response: Any, *, bot_name: str) -> SlackError:
    """The error for a refused call; `response` is what the SDK's exception carries."""
    status: int = getattr(response, "status_code", None) or getattr(response, "status", None) or 0
    data = getattr(response, "data", response)
    code = str(data.get("error", "")) if isinstance(data, Mapping) else ""
    if status == 429 or code in {"ratelimited", "rate_limited"}:  # noqa: PLR2004 - HTTP's own
        return RateLimited(_retry_after(getattr(response, "headers", {})))
    if not code and status < 500:  # noqa: PLR2004 - Slack's own failures come without JSON
        # A captive portal's page, or a proxy's: the call never came to Slack, or its answer was
        # lost on the way back.
        return SlackError("Slack did not answer.", code=NO_ANSWER)
    code = code or f"http_{status}"
    sentence = sentence_for(code, response=data, bot_name=bot_name)
    if method == "chat.update" and code in GONE:
        return MessageGone(sentence, code=code)
    return SlackError(sentence, code=code)


def sentence_for(code: str, *, bot_name: str, response: Any = None) -> str:
    """The sentence for an error code."""
    if code in _SENTENCES:
        return _SENTENCES[code].format(bot=bot_name)
    if code in BAD_TOKEN:
        return (
            f"Slack refuses my token ({code}). An operator has to renew SLACK_BOT_TOKEN;"
            " `deploybot check` shows details."
        )
    if code == "missing_scope":
        needed = response.get("needed", "") if isinstance(response, Mapping) else ""
        return (
            f"I don't have the Slack permission {needed or 'for that'}. An operator has to"
            " reinstall the app with the manifest from `deploybot manifest`."
        )
    for family, sentence in _FAMILIES.items():
        if code.startswith(family):
            return sentence
    return f"Slack refused that ({code})."


def _retry_after(headers: Mapping[str, Any]) -> timedelta:
    """Whole seconds; 30 if Slack names none."""
    lowered = {str(key).lower(): value for key, value in headers.items()}
    try:
        return timedelta(seconds=min(3600, max(1, int(lowered["retry-after"]))))
    except (KeyError, TypeError, ValueError):
        return timedelta(seconds=30)
