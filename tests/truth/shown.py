"""Compare what people and receivers were shown with the database row."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from bot.deployments.model import AuditEntry, Deployment, Live, Status
from bot.deployments.states import status_of
from bot.deployments.verdict.wording import LIVE
from bot.slack.client import REPLY_METADATA_TYPE
from bot.slack.render.words import HEADLINES
from tests.truth.harness import FINISHED, Harness

REPLIED = frozenset({"started_again", "crash_seen"})
"""Audit actions that get their own thread reply."""


def shown_at(harness: Harness, deployment_id: str, status: str) -> datetime | None:
    """When its message first showed the result; None: it was deleted, or never showed it."""
    return next(
        (
            look.at
            for message in harness.live_messages().get(deployment_id, ())
            for look in message.history
            if HEADLINES[Status(status)] in look.text
        ),
        None,
    )


def display_problems(
    harness: Harness, row: Deployment, audit: Sequence[tuple[datetime, AuditEntry]]
) -> Iterator[str]:
    """Check for one message that matches the row, and one mention and one webhook per result."""
    messages = harness.live_messages().get(row.id, [])
    if len(messages) != 1:
        yield f"{row.id}: {len(messages)} messages"
        return
    message = messages[0]
    for words in (HEADLINES[status_of(row.phase)], LIVE[row.live or Live.UNKNOWN]):
        for place, text in (("line", message.text), ("blocks", message.plain)):
            if words not in text:
                yield f"{row.id}: its {place} does not say {words!r}: {message.text}"
    corrections = sum(entry.action == "corrected" for _, entry in audit)
    notices = sum(entry.action in REPLIED for _, entry in audit)
    replies = [
        (reply.metadata or {})["event_payload"]["id"]
        for reply in harness.simulators.slack.thread(message)
        if (reply.metadata or {}).get("event_type") == REPLY_METADATA_TYPE
    ]
    if len(replies) != 1 + corrections + notices:
        yield (
            f"{row.id}: {len(replies)} replies for one result, "
            f"{corrections} corrections and {notices} notices"
        )
    finished = [one for one in harness.webhooks if one["data"]["id"] == row.id]
    ends = [one for one in finished if one["type"] == FINISHED]
    if len(ends) != 1:
        yield f"{row.id}: {len(ends)} finished webhooks"
    if len(finished) != 1 + corrections:
        yield f"{row.id}: {len(finished)} webhooks for one result and {corrections} corrections"
