"""What the form shows below its fields about the chosen app.

What is live, who holds a lock, whose approval is needed, what runs and what waits.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog

from bot.deployments.live.reader import LiveReport
from bot.deployments.locks.rules import covering
from bot.deployments.model import AppKey, Approval, Deployment
from bot.deployments.progress import Progress
from bot.deployments.requests.access import mentions
from bot.errors import BotError, Declined
from bot.slack.listeners.desk import Desk
from bot.slack.render import words
from bot.slack.render.form import server_words
from bot.slack.render.live_state import live_mrkdwn
from bot.slack.render.locks import lock_line
from bot.slack.render.text import inert

LONGEST_FACT = 400
MOST_WAITING = 3

log = structlog.get_logger(__name__)


async def read_facts(desk: Desk, app: str, server: str | None) -> Sequence[str]:
    """Lines of mrkdwn. If something cannot be read, its line says so. Never raises."""
    try:
        reports = await desk.queries.live_state(app, server=server)
        locks = await desk.service.locks.held()
    except Declined as declined:
        return (inert(str(declined).replace("`", ""), LONGEST_FACT),)
    except BotError as error:
        log.info("form_facts_not_read", app=app, error=type(error).__name__)
        return ("What is live now could not be read.",)
    now, several = desk.clock.now(), desk.names_server
    lines: list[str] = []
    for one in reports:
        where = server_words(one.server, several=several)
        lines.append(f"{where}{live_mrkdwn(one, now=now, name_server=False)[0]}")
        key = AppKey(server=one.server, dokku_app=one.dokku_app)
        lines += [lock_line(lock, name_server=False) for lock in covering(locks, key)]
        lines += _approval(desk, key, one.app)
        lines += _unfinished(desk, one, now)
    return lines


def _approval(desk: Desk, key: AppKey, app: str) -> Sequence[str]:
    """Whether a deployment needs an approval first, and whose."""
    rules = desk.queries.catalog.rules_of(key, app)
    if rules is None or rules.approval is Approval.NONE:
        return ()
    line = f"✋ Needs an approval {words.APPROVED_BY[rules.approval]}"
    listed = rules.approvers or rules.deployers
    return [f"{line}: {mentions(listed)}." if listed else f"{line}."]


def _unfinished(desk: Desk, report: LiveReport, now: datetime) -> Sequence[str]:
    lines: list[str] = []
    state = report.state
    running = [state.running] if state.running else []
    lines += [_one(*desk.queries.snapshot(one), now) for one in running]
    waiting = state.waiting[:MOST_WAITING]
    lines += [_one(*desk.queries.snapshot(one), now) for one in waiting]
    more = len(state.waiting) - len(waiting)
    return lines + ([f"and {more} more waiting"] if more else [])


def _one(deployment: Deployment, progress: Progress, now: datetime) -> str:
    return " · ".join(
        (
            words.headline(deployment, name_server=False),
            words.status_words(deployment, progress),
            words.elapsed_words(deployment, progress, now),
            f"by {words.actor_words(deployment.requested_by)}",
        )
    )
