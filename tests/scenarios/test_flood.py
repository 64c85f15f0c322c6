"""A build that prints more than is kept: its result is proven, its log shows the gap."""

import re

from bot.deployments.model import Live, Phase
from tests.scenarios.conftest import World

KEPT_BYTES = 16 * 1024 * 1024


async def test_log_over_the_limit_shows_the_gap_and_keeps_its_tail(
    world: World,
) -> None:
    world.now_behaves("flood_20_mb")
    await world.deploy()
    await world.until_message("Deployed", "live now: the new release")
    (row,) = await world.rows()
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
    assert world.bot is not None
    log = await world.bot.service.queries.store.logs.read(row.id)
    assert 15_000_000 < len(log) < KEPT_BYTES
    lines = log.splitlines()
    assert lines[0].startswith("       Fetching remote code for myapp")
    assert any("Application deployed:" in line for line in lines[-5:])
    (gap,) = [line for line in lines if line.endswith("of the log are not kept …")]
    dropped = re.search(r"\((\d+) lines\)", gap)
    assert dropped is not None
    printed = world.app.records[-1].log.count(b"\n")
    assert len(lines) - 1 + int(dropped[1]) == printed
