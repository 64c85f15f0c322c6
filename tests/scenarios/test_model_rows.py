"""Rows of docs/verdicts.md that nobody recorded, on the simulated Dokku's model.

Each story is played through the whole bot. It must meet evidence of the kind of each of its rows,
and the rules must say of it what they say of the row, to the word; where the last row is an end,
that is what the message tells and the database keeps. Rows that neither a recording nor the model
can show say so themselves (`alone`).
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.simulators.environment import LOOPBACK
from tests.scenarios.conftest import ONE_APP, QuickClock, World, open_world
from tests.support import plays
from tests.support.asked_rules import AskedRules, asked
from tests.support.model_stories import STORIES, Story
from tests.support.plays import HEADLINES
from tests.verdicts.flat import Kind
from tests.verdicts.rows import Row, Unstarted
from tests.verdicts.table import SECTIONS
from tools.docs.verdicts_page import verdict_of

__all__ = ["asked"]

ROWS = [row for section in SECTIONS for row in section.rows]
MODEL: Mapping[str, Row] = {row.model: row for row in ROWS if row.model}
STAYED_UP = "The new release runs and stayed up."


def end_of(story: Story) -> tuple[Phase, Failure | None, Live, str]:
    """What its last row says; where that decides nothing, the release proves itself."""
    verdict = verdict_of(MODEL[story.rows[-1]])
    if verdict is None or verdict.kind is not Kind.END:
        return Phase.SUCCEEDED, None, Live.NEW, STAYED_UP
    assert verdict.phase is not None
    assert verdict.live is not None
    return verdict.phase, verdict.failure, verdict.live, verdict.reason


def test_every_row_has_its_proof() -> None:
    """Replayed, played on the model by one story, or with the reason why neither can be."""
    played = Counter(name for one in STORIES for name in one.rows)
    assert len(MODEL) == sum(row.model is not None for row in ROWS)
    assert played == Counter(list(MODEL))
    for row in ROWS:
        replayed = row.recording is not None and row.step is not None
        assert (replayed or row.model is not None) != (row.alone is not None), row.read


@pytest.mark.parametrize("told", STORIES, ids=lambda one: one.rows[-1])
async def test_the_model_shows_its_rows(tmp_path: Path, asked: AskedRules, told: Story) -> None:
    apps = plays.NEW_APP if told.first else ONE_APP
    async with open_world(tmp_path, apps=apps, version=told.version) as world:
        await plays.scale(world, told.scale)
        clock = QuickClock(told.speed) if told.speed else None
        await world.start_bot(told.timing, clock, **told.settings)
        await told.play(world)
        phase, failure, live, reason = end_of(told)
        if isinstance(MODEL[told.rows[-1]], Unstarted):
            reason = in_this_world(reason, world)
        await world.until_message(HEADLINES[phase], "myapp", reason)
        (row,) = await world.rows()
        assert isinstance(row, Deployment)
        assert (row.phase, row.failure, row.live) == (phase, failure, live)
    assert [name for name in told.rows if not asked.show(MODEL[name])] == []


def in_this_world(reason: str, world: World) -> str:
    """With the names that the app and the server have here."""
    where = f"{LOOPBACK}:{world.stage.server.port}"
    return (
        reason.replace("web", "myapp")
        .replace("production", "default")
        .replace("dokku.example.com:22", where)
    )
