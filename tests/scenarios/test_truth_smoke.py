"""A small sample of the truth test; `make truth` runs thousands."""

import pytest

from bot.simulators.dokku.recordings import NEWEST, VERSIONS
from tests.truth.plans import Repertoire, plans
from tests.truth.rounds import play_round
from tests.truth.summary import story

SEED = 20
SAMPLE = 10


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_told_of_random_deployments_is_what_happened(version: str) -> None:
    may = Repertoire(faults=False, old=version != NEWEST)
    wanted = plans(SEED, 0, may=may, count=SAMPLE)
    result = await play_round(SEED, 0, faults=False, version=version, only=wanted)
    assert result.problems == []
    assert [line for one in result.told if one.wrong for line in story(result, one)] == []
    assert len(result.told) == SAMPLE
    assert {one.unknown for one in result.told} == {None}
