"""The one reply in a deployment's thread at its end: it mentions the requester."""

from datetime import datetime

from bot.deployments.model import Deployment, Live, Phase
from bot.deployments.states import status_of
from bot.slack.render import blocks as kit
from bot.slack.render import text as txt
from bot.slack.render import words
from bot.slack.render.blocks import Answer

RESULTS = {
    Phase.SUCCEEDED: "was deployed",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "was cancelled",
}


def end_mention(deployment: Deployment, *, now: datetime | None = None) -> Answer:
    """Result, duration, what is live and why, for an ended deployment.

    The only text of ours that pings: the requester, if it was a Slack user. `now` counts only
    where the end's time is not known.
    """
    end = deployment.finished_at or now or deployment.created_at
    icon = words.ICONS[status_of(deployment.phase)]
    took = txt.duration(deployment.duration(end))
    line = (
        f"{icon} {_subject(deployment)} {_result(deployment)} after {took}."
        f" Live now: {words.live_words(deployment)}{_where(deployment)}."
    )
    who = txt.mention(deployment.requested_by.user)
    addressed = f"{who} {line}" if who else line
    blocks = [kit.section(addressed)]
    if deployment.reason:
        blocks.append(kit.plain_section(txt.cut(txt.one_line(deployment.reason), 500) or "-"))
        addressed += f" {txt.inert(deployment.reason, 300)}"
    return Answer(text=addressed, blocks=tuple(blocks))


def _subject(deployment: Deployment) -> str:
    return f"*{txt.inert(deployment.app, 80)}* {words.target_words(deployment)}"


def _result(deployment: Deployment) -> str:
    result = RESULTS.get(deployment.phase, words.PHASES[deployment.phase].lower())
    if deployment.phase is Phase.FAILED and deployment.failure is not None:
        return f"{result} ({words.FAILURES[deployment.failure]})"
    return result


def _where(deployment: Deployment) -> str:
    if deployment.live is not Live.NEW or not deployment.url:
        return ""
    return f" at {words.address(deployment.url)}"
