"""A small sample of the truth test; `make truth` runs thousands."""

import pytest

from bot.simulators.dokku.recordings import NEWEST, VERSIONS
from tests.truth.plans import Options, plans
from tests.truth.rounds import run_round
from tests.truth.summary import story

SEED = 20
SAMPLE = 10


@pytest.mark.parametrize("version", VERSIONS)
async def test_reports_of_random_deployments_are_true(version: str) -> None:
    may = Options(faults=False, old=version != NEWEST)
    wanted = plans(SEED, 0, may=may, count=SAMPLE)
    result = await run_round(SEED, 0, faults=False, version=version, only=wanted)
    assert result.problems == []
    assert [line for one in result.reported if one.wrong for line in story(result, one)] == []
    assert len(result.reported) == SAMPLE
    assert {one.unknown for one in result.reported} == {None}
