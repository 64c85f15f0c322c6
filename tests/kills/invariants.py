"""What holds after any number of deaths, once nothing is left to do."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from sqlalchemy import select

from bot.deployments.execution.owned import REFUSED_BY_LOCK
from bot.deployments.model import AuditEntry, Deployment, Live, Phase
from bot.deployments.states import status_of
from bot.deployments.verdict.wording import LIVE
from bot.outbox import FINISHED, SLACK_LANE
from bot.simulators.dokku.app import App
from bot.simulators.slack.model import Message
from bot.slack.client import METADATA_TYPE, REPLY_METADATA_TYPE
from bot.slack.render.words import HEADLINES
from bot.store.shared_tables import notices
from bot.store.sql_store import SqlStore
from bot.store.tables import outbox
from tests.scenarios.conftest import World, shown
from tests.truth.history import History, RunStory

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

Audit = Sequence[tuple[datetime, AuditEntry]]


async def problems_of(world: World, store: SqlStore) -> list[str]:
    """Everything that is unfinished, doubled or untrue now."""
    unfinished = [f"{row.id}: is still {row.phase}" for row in await store.unfinished()]
    if problems := unfinished + await _left_in_outbox(store):
        return problems
    rows = sorted(await store.recent(limit=10_000), key=lambda row: row.id)
    audits = {row.id: await store.audit_of(row.id) for row in rows}
    for row in rows:
        problems += _shown_problems(world, row)
        problems += _told_problems(world, row, await _replies_of(store, row))
        problems += _log_problems(world, row, await store.logs.read(row.id))
    problems += _messages_of_nothing(world, rows)
    for name, app in world.simulators.dokku.apps.items():
        own = [row for row in rows if row.dokku_app == name]
        problems += _server_problems(world, app, own, [audits[row.id] for row in own])
    return problems


async def _left_in_outbox(store: SqlStore) -> list[str]:
    found = []
    async with store.database.read() as connection:
        for table in (outbox, notices):
            waiting = select(table.c.id, table.c.kind).where(table.c.state == "waiting")
            found += [f"{one.kind} {one.id} waits" for one in await connection.execute(waiting)]
    return found


def live_messages(world: World) -> dict[str, list[Message]]:
    """The live messages, by deployment id."""
    found: dict[str, list[Message]] = {}
    for message in world.messages:
        metadata = message.metadata or {}
        if metadata.get("event_type") == METADATA_TYPE:
            found.setdefault(metadata["event_payload"]["id"], []).append(message)
    return found


def _messages_of_nothing(world: World, rows: Sequence[Deployment]) -> Iterator[str]:
    known = {row.id for row in rows}
    for deployment_id, messages in live_messages(world).items():
        # Messages about locks carry the id of their own rows.
        if deployment_id in known:
            continue
        if "deployment_cancel" in messages[0].buttons:
            yield f"{deployment_id}: a message without a deployment"
        if len(messages) > 1:
            yield f"{deployment_id}: {len(messages)} messages about a lock"


def _shown_problems(world: World, row: Deployment) -> Iterator[str]:
    messages = live_messages(world).get(row.id, [])
    if len(messages) != 1:
        yield f"{row.id}: {len(messages)} messages"
        return
    said = shown(messages[0])
    for words in (HEADLINES[status_of(row.phase)], LIVE[row.live or Live.UNKNOWN]):
        if words not in said:
            yield f"{row.id}: its message does not say {words!r}: {messages[0].text}"


async def _replies_of(store: SqlStore, row: Deployment) -> list[str]:
    """The ids of all replies that were planned with its changes."""
    mine = select(outbox.c.id).where(outbox.c.deployment_id == row.id, outbox.c.lane == SLACK_LANE)
    async with store.database.read() as connection:
        return sorted((await connection.execute(mine)).scalars())


def _told_problems(world: World, row: Deployment, planned: Sequence[str]) -> Iterator[str]:
    message = live_messages(world).get(row.id, [None])[0]
    thread = world.slack.thread(message) if message else []
    replies = sorted(
        (reply.metadata or {})["event_payload"]["id"]
        for reply in thread
        if (reply.metadata or {}).get("event_type") == REPLY_METADATA_TYPE
    )
    if replies != planned:
        yield f"{row.id}: the replies are {replies} instead of {planned}"
    mentions = [one for one in thread if f"<@{row.requested_by.user}>" in shown(one)]
    results = [one for one in mentions if "asks to deploy" not in shown(one)]
    if len(results) != 1:
        yield f"{row.id}: its requester is mentioned {len(results)} times"
    if row.attempt > 1 and not any("again, once" in shown(one) for one in thread):
        yield f"{row.id}: the thread does not say that it was started again"
    ends = {
        one.webhook_id
        for one in world.simulators.receiver.delivered
        if one.body["type"] == FINISHED and one.body["data"]["id"] == row.id
    }
    if len(ends) != 1:
        yield f"{row.id}: {len(ends)} webhooks about its result"


def _log_problems(world: World, row: Deployment, stored: str) -> Iterator[str]:
    """All that Dokku kept of its last start is in the log, once."""
    record = world.simulators.dokku.apps[row.dokku_app].record(row.build_id or "")
    if record is None:
        return
    lines = [line.strip() for line in stored.splitlines()]
    for line in _ESCAPES.sub("", record.log.decode()).replace("\r", "\n").splitlines():
        if line.strip() and line.strip() not in lines:
            yield f"{row.id}: its log lacks {line!r}"
            return


def _server_problems(
    world: World, app: App, rows: Sequence[Deployment], audits: Sequence[Audit]
) -> Iterator[str]:
    host = world.simulators.dokku
    history = History([one for one in host.journal if one.app == app.name])
    runs = [one for one in history.runs.values() if one.source == "git:sync" and not one.outside]
    runs = [one for one in runs if history.entries[one.began].at > host.journal[0].at]
    yield from _overlaps(runs)
    allowed = 0
    for row, audit in zip(rows, audits, strict=True):
        actions = [entry.action for _, entry in audit]
        if "starting" in actions:
            allowed += row.attempt + actions.count(REFUSED_BY_LOCK)
    # The first one is the release from before the test.
    begun = len(runs) - 1
    if begun > allowed:
        yield f"{app.name}: {begun} starts of {allowed} that the rows know"
    yield from _live_problems(world, app, rows)


def _overlaps(runs: Sequence[RunStory]) -> Iterator[str]:
    for former, later in pairwise(runs):
        if former.ended is None or former.ended > later.began:
            yield f"run {later.number} was started while run {former.number} was alive"


def _live_problems(world: World, app: App, rows: Sequence[Deployment]) -> Iterator[str]:
    """What the newest result says of the live release is what serves."""
    ended = [row for row in rows if row.started_at is not None and row.finished_at is not None]
    if not ended:
        return
    newest = max(ended, key=lambda row: row.finished_at or row.created_at)
    serving = {one.sha for one in world.simulators.dokku.live(app.name).values()}
    if newest.phase is Phase.SUCCEEDED and newest.live is not Live.NEW:
        yield f"{newest.id}: succeeded, live {newest.live}"
    if newest.live is Live.NEW and serving != {newest.sha}:
        yield f"{newest.id}: said to be live, but {serving} serves"
    if newest.live is Live.PREVIOUS and newest.previous_sha not in {None, *serving}:
        yield f"{newest.id}: {newest.previous_sha} is said to be live, but {serving} serves"
    if newest.live in {Live.UNKNOWN, Live.MIXED, Live.NONE, None}:
        yield f"{newest.id}: live {newest.live}"
