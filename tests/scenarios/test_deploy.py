"""`/deploy myapp main`, from the command to the proven result."""

from bot.deployments.model import Live, Phase
from tests.scenarios.conftest import World, shown


async def test_redeploy_is_reported_as_deployed_once_its_release_runs(world: World) -> None:
    result = await world.deploy()
    assert result.acked
    message = await world.until_message("Deployed", "myapp")
    (row,) = await world.rows()
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert row.sha == world.simulators.forge.sha("myapp", "main")
    assert len(world.messages) == 1
    assert row.id in shown(message)
