"""What the form shows below its fields: what is live for the chosen app, what runs and waits."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from bot.deployments.live.reader import LiveReport
from bot.deployments.model import Deployment
from bot.deployments.progress import Progress
from bot.errors import BotError, Declined
from bot.slack.listeners.desk import Desk
from bot.slack.render import words
from bot.slack.render.form import server_words
from bot.slack.render.live_state import live_mrkdwn
from bot.slack.render.text import inert

LONGEST_FACT = 400
MOST_WAITING = 3

log = structlog.get_logger(__name__)


async def read_facts(desk: Desk, app: str, server: str | None) -> Sequence[str]:
    """Lines of mrkdwn. If something cannot be read, its line says so. Never raises."""
    try:
        reports = await desk.queries.live_state(app, server=server)
    except Declined as declined:
        return (inert(str(declined).replace("`", ""), LONGEST_FACT),)
    except BotError as error:
        log.info("form_facts_not_read", app=app, error=type(error).__name__)
        return ("What is live now could not be read.",)
    now, several = desk.clock.now(), desk.names_server
    return [line for one in reports for line in _facts(desk, one, now, several=several)]


def _facts(desk: Desk, report: LiveReport, now: datetime, *, several: bool) -> Sequence[str]:
    where = server_words(report.server, several=several)
    lines = [f"{where}{live_mrkdwn(report, now=now, name_server=False)[0]}"]
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
