"""Make a webhook's body from a deployment and an event. Pure. The body is a public contract.

Every field is listed in docs/webhooks.md, which a test checks. Fields may be added, never removed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from ulid import ULID

from bot.clock import Clock
from bot.deployments.model import Deployment, Event
from bot.deployments.refs import Commits
from bot.deployments.states import ENDINGS, STATUS
from bot.outbox import (
    APPROVAL,
    CORRECTED,
    FINISHED,
    NOTE,
    RESULTS_LANE,
    SLACK_LANE,
    STARTED,
    Endpoint,
    Outgoing,
    Planner,
)
from bot.webhooks.slack_format import slack_message

EVENTS = frozenset({STARTED, FINISHED, CORRECTED})

TAIL_LINES = 40
LINE_CHARACTERS = 500


def standard_body(deployment: Deployment, event: Event, *, at: datetime) -> dict[str, object]:
    """Make the Standard Webhooks body: `{type, timestamp, data}`.

    `at` is when the event is stored: the timestamp of an event without a time in the row (a
    correction).
    """
    data = _data(deployment)
    data["log_tail"] = [_cut(line) for line in event.log_tail[-TAIL_LINES:]]
    if event.corrected_from is not None:
        data["corrected_from"] = dict(event.corrected_from)
    happened = {STARTED: deployment.started_at, FINISHED: deployment.finished_at}.get(event.type)
    return {"type": event.type, "timestamp": rfc3339(happened or at), "data": data}


def planner(
    endpoints: Sequence[Endpoint],
    *,
    clock: Clock,
    name_server: bool = True,
    notified: Callable[[Deployment], Collection[str]] = lambda _deployment: (),
    new_id: Callable[[], str] = lambda: str(ULID()),
) -> Planner:
    """Make the planner that turns events into outbox rows.

    One row for each endpoint that wants the event, with the body that will be sent; and for
    a result or a correction of a deployment that came from Slack one row on the lane `slack`,
    with the standard body. One more on the lane `results` goes to each channel that `notified`
    names. `name_server`: there are several, so messages in Slack's format name it.
    """

    def plan(deployment: Deployment, event: Event) -> Sequence[Outgoing]:
        now = clock.now()
        body = standard_body(deployment, event, at=now)

        def row(lane: str, content: Mapping[str, object]) -> Outgoing:
            return Outgoing(
                id=new_id(),
                deployment_id=deployment.id,
                lane=lane,
                kind=event.type,
                body=content,
                created_at=now,
                next_at=now,
            )

        def content(endpoint: Endpoint) -> Mapping[str, object]:
            slack = endpoint.format == "slack"
            return slack_message(body, name_server=name_server) if slack else body

        rows = [
            row(endpoint.lane, content(endpoint))
            for endpoint in endpoints
            if endpoint.wants(event.type, deployment.app)
        ]
        if event.type == APPROVAL:
            rows = [row(SLACK_LANE, {"type": APPROVAL, "mentions": list(event.mentions)})]
        if event.type == NOTE:
            rows = [row(SLACK_LANE, {"type": NOTE, "text": event.text or ""})]
        if event.type in {FINISHED, CORRECTED} and (deployment.message or deployment.channel):
            rows.append(row(SLACK_LANE, body))
        if event.type in {FINISHED, CORRECTED}:
            # Not the webhook's body: the row holds the channel and what was reported before.
            data = {"corrected_from": dict(event.corrected_from or {})}
            rows += [
                row(RESULTS_LANE, {"channel": channel, "data": data})
                for channel in sorted(notified(deployment))
            ]
        return rows

    return plan


def rfc3339(instant: datetime) -> str:
    """Format a time in UTC, in whole seconds, with `Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _data(deployment: Deployment) -> dict[str, object]:
    ended = deployment.phase in ENDINGS and deployment.finished_at is not None
    finished_at = deployment.finished_at if ended else None
    place = deployment.message
    return {
        "id": deployment.id,
        "server": deployment.server,
        "app": deployment.app,
        "ref": deployment.ref,
        "sha": deployment.sha,
        "previous_sha": deployment.previous_sha,
        "status": STATUS[deployment.phase].value,
        "failure": deployment.failure.value if deployment.failure else None,
        "live": deployment.live.value if deployment.live else None,
        "reason": deployment.reason,
        "requested_by": {
            "user": deployment.requested_by.user,
            "team": deployment.requested_by.team,
            "name": deployment.requested_by.name,
        },
        "trigger": deployment.trigger.value,
        # One that ended before it was approved never joined the queue.
        "queued_at": _instant(deployment.queued_at or (deployment.created_at if ended else None)),
        "started_at": _instant(deployment.started_at),
        "finished_at": _instant(finished_at),
        "duration_s": (
            round(deployment.duration(finished_at).total_seconds(), 1) if finished_at else None
        ),
        "build_id": deployment.build_id,
        "rollback_of": deployment.rollback_of,
        "retry_of": deployment.retry_of,
        "url": deployment.url,
        "commits": _commits(deployment.shipped),
        "slack": {
            "channel": place.channel if place else (deployment.channel or None),
            "ts": place.ts if place else None,
            "permalink": place.permalink if place else None,
        },
    }


def _commits(shipped: Commits | None) -> list[dict[str, object]]:
    """What it adds to the live release, newest first; at least its own commit, where known."""
    if shipped is None:
        return []
    return [asdict(one) for one in (shipped.listed if shipped.ahead else (shipped.head,))]


def _instant(instant: datetime | None) -> str | None:
    return rfc3339(instant) if instant else None


def _cut(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS else line[: LINE_CHARACTERS - 1] + "…"
