"""All chapters, in the order of docs/verdicts.md."""

from bot.operations.verdict_table.bad import BAD
from bot.operations.verdict_table.good import GOOD
from bot.operations.verdict_table.lost import LOST
from bot.operations.verdict_table.lost_old import LOST_ON_OLD_DOKKU
from bot.operations.verdict_table.rows import Section
from bot.operations.verdict_table.settled import SETTLED
from bot.operations.verdict_table.starting import REFUSED, UNSTARTED
from bot.operations.verdict_table.stopped import CANCELS

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
