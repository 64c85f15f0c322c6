"""What the deploy lock tells before Dokku 0.38, where a deploy that is dead has freed it.

Later versions leave its file behind, and have build records instead.
"""

from datetime import timedelta

from bot.clock import Clock
from bot.deployments.model import Deployment
from bot.deployments.ports import Dokku

PAUSE = timedelta(milliseconds=500)
DIES_WITHIN = timedelta(seconds=6)
"""After the line ended the lock is watched closely for so long: a deploy that prints is dead, and
its lock free, within 2 s (recording m1)."""
STAYS_FREE = timedelta(seconds=3)
"""A good end frees the lock first and writes the recorded source after it (0.4 s, recording b)."""
FETCH_LIVES_ON = timedelta(seconds=60)
"""While it fetches it holds no lock, so that a free one says nothing; and a fetch that prints
nothing was seen to outlive its client by 11 s. Whatever prints after it kills it before the
release."""
FETCH_MAY_END_WITHIN = FETCH_LIVES_ON
"""A cancel waits so long for a fetch to become a build, which can be proven dead by its lock.

As long as the proof takes without it: so it comes never more than twice as late as it would if
one knew how long the fetch goes on, and only of a fetch that hangs it comes later than before.
"""


def tells(row: Deployment) -> bool:
    """Whether the lock alone tells of its command: no records, and no exit status."""
    return keeps_no_records(row) and row.exit_status is None


def keeps_no_records(row: Deployment) -> bool:
    """Whether the Dokku that it was started on is older than 0.38."""
    return row.before is not None and row.before.builds is None


async def was_free(dokku: Dokku, app: str, clock: Clock, *, until: float) -> bool:
    """Whether the lock was free, long enough before this returns for a good end to be complete.

    Asks at least once, and while it is held until `until` (monotonic seconds). DokkuError.
    """
    while (await dokku.report(app)).locked:
        if clock.monotonic() >= until:
            return False
        await clock.sleep(PAUSE)
    await clock.sleep(STAYS_FREE)
    return True
