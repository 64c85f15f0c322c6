"""Kill -9 before and after commits and calls to the outside; each life takes up the last one."""

from pathlib import Path

import pytest

from tests.kills.rounds import run_round
from tests.kills.stories import SETTINGS, STORIES, Story, play, unexpected
from tests.kills.world import open_lives
from tests.support.bot_processes import an_app

SEED, SAMPLE = 7, 4
"""`make kills` runs hundreds."""


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_after_any_death(tmp_path: Path, story: Story) -> None:
    apps = an_app("myapp"), an_app("guarded")
    async with open_lives(tmp_path, *apps, settings=SETTINGS) as it:
        await play(it, story)
        assert await it.settled() == [], it.deaths
        assert unexpected(await it.store.recent(limit=100)) == []
        assert len(it.deaths) == len(story.lives)
        await it.stop()


async def test_random_deaths() -> None:
    result = await run_round(SEED, 0, kills=SAMPLE)
    assert result.problems == [], result.deaths
    assert len(result.deaths) == SAMPLE
