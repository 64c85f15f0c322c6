"""A day of ordinary work in fast motion: memory, tasks and handles do not grow (tests/storms)."""

from typing import Any

from tests.storms.soak import Soak, run_soak


async def measure(**options: Any) -> dict[str, object]:
    """Run one; the options are those of `Soak`: `soak hours=6 postgres=1`."""
    outcome = await run_soak(Soak(**options))
    return {**outcome.figures, "problems": outcome.problems}
