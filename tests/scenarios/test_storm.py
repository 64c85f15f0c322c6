"""A small storm; `make bench ARGS=storm` lets a large one rage."""

from tests.storms.storm import Plan, run_storm


async def test_everything_fails_at_once_and_every_deployment_ends_right() -> None:
    outcome = await run_storm(Plan(deployments=9, servers=3, speed=20.0, within_s=300.0))
    assert outcome.problems == []
    assert outcome.figures["not_ready_because"] == {
        "database": "the database cannot be used: disk I/O error"
    }
