"""Delivers the outbox lane `results`: one message to each channel that also gets a result.

They are the channels of `notify`, other than the deployment's own. A message carries the id of its
row as metadata, and wherever an earlier try may have got through, it is looked for first. Nothing
here changes the deployment: a channel that cannot be posted to is logged, and that is all.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.deployments.model import Actor, Deployment, Live, Phase
from bot.deployments.verdict.wording import FAILURES
from bot.errors import SlackError
from bot.outbox import (
    RESULTS_LANE,
    Attempt,
    Delivered,
    Failed,
    LaneTiming,
    Outbox,
    OutboxLane,
    Outgoing,
    Undeliverable,
    open_lanes,
)
from bot.slack.client import SlackClient
from bot.slack.limits import SlackLimits
from bot.slack.notices import is_posted
from bot.slack.refusals import PASSING
from bot.slack.render import text as txt
from bot.slack.render import words
from bot.slack.render.blocks import FALLBACK_TEXT, Answer, plain_section, section
from bot.slack.thread_replies import (
    LONGEST_CORRECTION,
    Get,
    check_hold,
    correction_of,
    may_be_there,
)

_log = structlog.get_logger(__name__)

LONGEST_REASON = 500
_HINT = "Fix that, or take the channel out of `notify`. The deployment itself is not affected."


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPosts:
    """Posts one result to one channel. `get` reads the newest row of a deployment."""

    client: SlackClient
    get: Get
    clock: Clock
    limits: SlackLimits = field(default_factory=SlackLimits)
    name_server: bool = True

    async def __call__(self, row: Outgoing) -> Attempt:
        """Post it, once. The lane tries again what Slack refused for a while."""
        deployment = await self.get(row.deployment_id)
        if deployment is None:
            return Delivered("the deployment was withdrawn")
        channel = str(row.body.get("channel") or "")
        try:
            tried = may_be_there(row, now=self.clock.now(), untried=self.limits.untried_reply)
            if tried and await is_posted(self.client, channel, row):
                return Delivered("an earlier try had got through")
            link = await self._permalink(deployment)
            post = result_post(deployment, row, permalink=link, name_server=self.name_server)
            check_hold(row)
            await self.client.post(
                channel, text=post.text, blocks=post.blocks, deployment_id=row.id
            )
        except SlackError as error:
            if error.code in PASSING:
                return Failed(f"{error.code}: {error}")
            why = f"The result of {deployment.app} could not be posted in {channel}: {error}"
            _log.warning("result_not_posted", channel=channel, why=f"{why} {_HINT}")
            return Undeliverable(f"{error.code or 'refused'}: {why}")
        return Delivered()

    async def _permalink(self, deployment: Deployment) -> str | None:
        at = deployment.message
        if at is None or at.permalink is not None:
            return None if at is None else at.permalink
        try:
            return await self.client.permalink(at.channel, at.ts)
        except SlackError as error:
            _log.info("permalink_not_read", code=error.code, deployment_id=deployment.id)
            return None


def result_post(
    deployment: Deployment, row: Outgoing, *, permalink: str | None, name_server: bool
) -> Answer:
    """The newest result in one line, its reason below, and what a correction corrects. No ping."""
    facts = [words.headline(deployment, name_server=name_server)]
    if deployment.phase is Phase.FAILED and deployment.failure is not None:
        facts.append(FAILURES[deployment.failure])
    if deployment.sha:
        facts.append(f"{txt.code(txt.short_sha(deployment.sha))}{words.head_words(deployment)}")
    facts.append(f"live now: {words.live_words(deployment)}")
    facts.append(txt.duration(deployment.duration(deployment.finished_at or deployment.created_at)))
    facts.append(f"by {_name(deployment.requested_by)}")
    if deployment.url and deployment.live is Live.NEW:
        facts.append(words.address(deployment.url))
    if permalink:
        facts.append(txt.link(permalink, "message"))
    line = " · ".join(facts)
    said, blocks = [line], [section(line)]
    if correction := correction_of(row):
        said.insert(0, txt.inert(correction, LONGEST_CORRECTION))
        blocks.insert(0, plain_section(correction))
    if reason := words.reason_words(deployment):
        said.append(f"· {txt.inert(reason, LONGEST_REASON)}")
        blocks.append(plain_section(txt.cut(reason, LONGEST_REASON)))
    return Answer(text=txt.as_fits(said, " ", FALLBACK_TEXT), blocks=tuple(blocks))


def _name(actor: Actor) -> str:
    """Who, without a ping: the people of this channel did not ask for it."""
    return words.actor_words(actor) if actor.name else txt.code(actor.user, 40)


@asynccontextmanager
async def open_result_posts(
    *,
    client: SlackClient,
    outbox: Outbox,
    get: Get,
    clock: Clock,
    limits: SlackLimits,
    name_server: bool,
    drain: timedelta = timedelta(seconds=1),
    timing: LaneTiming | None = None,
) -> AsyncIterator[OutboxLane]:
    """Post results while open. Leaving sends what is due, for at most `drain`."""
    deliver = ResultPosts(
        client=client, get=get, clock=clock, limits=limits, name_server=name_server
    )
    lane = OutboxLane(
        lane=RESULTS_LANE,
        outbox=outbox,
        deliver=deliver,
        clock=clock,
        timing=timing or LaneTiming(),
    )
    async with open_lanes([lane], drain=drain):
        yield lane
