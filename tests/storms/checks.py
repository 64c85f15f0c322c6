"""What must be true when a storm is over."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.deployments.model import AuditEntry, Deployment, Live
from bot.deployments.states import status_of
from bot.deployments.verdict.wording import LIVE
from bot.outbox import CORRECTED, FINISHED
from bot.simulators.slack.model import Message
from bot.slack.client import REPLY_METADATA_TYPE
from bot.slack.render.words import HEADLINES
from tests.scenarios.conftest import World, shown
from tests.storms.servers import EXPECTED, StormServer
from tests.storms.weather import Spell
from tests.support.quick_clock import QuickClock
from tests.truth.history import History
from tests.truth.judge import Circumstances, Result, judge
from tests.truth.shown import REPLIED
from tests.truth.truth import Case

ECHO_S = 20.0
"""For this long after a server's outage an old connection may still be found dead."""
Audit = Sequence[tuple[datetime, AuditEntry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that the outside was shown."""

    world: World
    clock: QuickClock
    spells: Sequence[Spell]
    webhooks: Sequence[tuple[str, Mapping[str, Any]]]
    """Delivered ones: id and body."""


def untrue(
    seen: Seen, one: StormServer, row: Deployment, audit: Audit, history: History
) -> Iterator[str]:
    """What of a result the journal of its server does not show, or its plan did not say."""
    ahead = one.host.clock.now() - seen.clock.now()
    claims = [at + ahead for at, entry in audit if entry.action == "starting"]
    ends = (row.finished_at or row.created_at) + ahead
    begins = claims[0] if claims else row.created_at + ahead
    runs = [
        run
        for run in history.runs.values()
        if claims and begins <= history.entries[run.began].at <= ends
    ]
    outages = [
        (_instant(one, spell.began), _instant(one, spell.ended + ECHO_S))
        for spell in seen.spells
        if spell.kind == one.name
    ]
    known = Circumstances(
        connection_faults=outages, cap=row.max_duration, sha=row.sha, faults=bool(outages)
    )
    result = Result(status=status_of(row.phase), failure=row.failure, live=row.live or "unknown")
    for problem in judge(
        result, Case(history=history, runs=runs, begins=begins, ends=ends), known
    ).wrong:
        yield f"{row.id} on {one.name}: {problem}"
    wanted = EXPECTED[one.host.apps[row.dokku_app].behaviour]
    if not outages and (result.status, result.failure) != wanted:
        yield f"{row.id} on {one.name}: {result} instead of {wanted}: {row.reason}"


def _instant(one: StormServer, monotonic_s: float) -> datetime:
    return one.host.clock.instant_of(monotonic_s)


def not_told(
    seen: Seen, messages: Sequence[Message], row: Deployment, audit: Audit
) -> Iterator[str]:
    """Whatever its message, its thread and its webhook lack, or have twice."""
    if len(messages) != 1:
        yield f"{row.id}: {len(messages)} messages"
        return
    said = shown(messages[0])
    for words in (HEADLINES[status_of(row.phase)], LIVE[row.live or Live.UNKNOWN]):
        if words not in said:
            yield f"{row.id}: its message does not say {words!r}: {messages[0].text}"
    replies = [
        reply
        for reply in seen.world.slack.thread(messages[0])
        if (reply.metadata or {}).get("event_type") == REPLY_METADATA_TYPE
    ]
    corrections = sum(entry.action == "corrected" for _, entry in audit)
    notices = sum(entry.action in REPLIED for _, entry in audit)
    mentions = sum(f"<@{row.requested_by.user}>" in shown(one) for one in replies)
    if len(replies) != 1 + corrections + notices or not 1 <= mentions <= 1 + corrections:
        yield f"{row.id}: {len(replies)} replies, {mentions} mentions, {corrections} corrections"
    # At least once: one whose answer was lost, or could not be stored, comes again with its id.
    mine = {key: body["type"] for key, body in seen.webhooks if body["data"]["id"] == row.id}
    kinds = [kind for kind in mine.values() if kind in {FINISHED, CORRECTED}]
    if sorted(kinds) != [CORRECTED] * corrections + [FINISHED]:
        yield f"{row.id}: the webhooks {kinds} for one result and {corrections} corrections"


def edits_per_minute(world: World) -> list[int]:
    """Edits that Slack took within each minute of its clock that ends with one."""
    span = timedelta(minutes=1)
    times = [
        call.at
        for call in world.slack.calls
        if call.method == "chat.update" and call.outcome == "ok"
    ]
    found, first = [], 0
    for place, at in enumerate(times):
        while times[first] <= at - span:
            first += 1
        found.append(place - first + 1)
    return found
