"""What people and receivers were shown of an end, held against the row."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from bot.deployments.model import AuditEntry, Deployment, Live, Status
from bot.deployments.states import status_of
from bot.deployments.verdict.wording import LIVE
from bot.slack.client import REPLY_METADATA_TYPE
from bot.slack.render.words import HEADLINES
from tests.truth.theatre import FINISHED, Theatre

NOTED = frozenset({"started_again", "crash_seen"})
"""Acts of which the thread is told by a note of its own."""


def shown_at(theatre: Theatre, deployment_id: str, status: str) -> datetime | None:
    """When its message showed the end first; None: it was deleted, or shown in no such words."""
    return next(
        (
            look.at
            for message in theatre.live_messages().get(deployment_id, ())
            for look in message.history
            if HEADLINES[Status(status)] in look.text
        ),
        None,
    )


def show_problems(
    theatre: Theatre, row: Deployment, audit: Sequence[tuple[datetime, AuditEntry]]
) -> Iterator[str]:
    """One message that says what the row says, one mention and one webhook for each end."""
    messages = theatre.live_messages().get(row.id, [])
    if len(messages) != 1:
        yield f"{row.id}: {len(messages)} messages"
        return
    message = messages[0]
    for words in (HEADLINES[status_of(row.phase)], LIVE[row.live or Live.UNKNOWN]):
        for place, text in (("line", message.text), ("blocks", message.plain)):
            if words not in text:
                yield f"{row.id}: its {place} does not say {words!r}: {message.text}"
    corrections = sum(entry.action == "corrected" for _, entry in audit)
    notes = sum(entry.action in NOTED for _, entry in audit)
    replies = [
        (reply.metadata or {})["event_payload"]["id"]
        for reply in theatre.stage.slack.thread(message)
        if (reply.metadata or {}).get("event_type") == REPLY_METADATA_TYPE
    ]
    if len(replies) != 1 + corrections + notes:
        yield (
            f"{row.id}: {len(replies)} replies for one end, "
            f"{corrections} corrections and {notes} notes"
        )
    finished = [one for one in theatre.webhooks if one["data"]["id"] == row.id]
    ends = [one for one in finished if one["type"] == FINISHED]
    if len(ends) != 1:
        yield f"{row.id}: {len(ends)} finished webhooks"
    if len(finished) != 1 + corrections:
        yield f"{row.id}: {len(finished)} webhooks for one end and {corrections} corrections"
