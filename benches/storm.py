"""200 deployments at once on 20 servers while everything around the bot fails (tests/storms)."""

from typing import Any

from tests.storms.storm import Plan, run_storm

MOST_MB = 400.0


async def measure(**options: Any) -> dict[str, object]:
    """Run one; the options are those of `Plan`: `storm deployments=50 replicas=3`."""
    outcome = await run_storm(Plan(**options))
    problems = list(outcome.problems)
    rss_mb = outcome.figures["rss_most_mb"]
    if not isinstance(rss_mb, float) or rss_mb > MOST_MB:
        problems.append(f"{rss_mb} MB, more than {MOST_MB:.0f}")
    return {**outcome.figures, "problems": problems}
