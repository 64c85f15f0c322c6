"""All chapters, in the order of docs/verdicts.md."""

from tests.verdicts.bad import BAD
from tests.verdicts.good import GOOD
from tests.verdicts.lost import LOST
from tests.verdicts.lost_old import LOST_ON_OLD_DOKKU
from tests.verdicts.rows import Section
from tests.verdicts.settled import SETTLED
from tests.verdicts.starting import REFUSED, UNSTARTED
from tests.verdicts.stopped import CANCELS

SECTIONS: tuple[Section, ...] = (
    UNSTARTED,
    REFUSED,
    GOOD,
    SETTLED,
    BAD,
    CANCELS,
    LOST,
    LOST_ON_OLD_DOKKU,
)
