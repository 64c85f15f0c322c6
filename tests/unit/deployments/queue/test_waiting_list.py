"""Why a queued deployment expired."""

from datetime import timedelta

from bot.deployments.progress import Blocker
from bot.deployments.queue.waiting_list import expiry_cause
from tests.support.builders import NOW

PHRASE = "a git push outside the bot (Dokku build b9)"


def test_expiry_cause_names_the_blocker_and_the_fix() -> None:
    held_up = Blocker(what=PHRASE, since=NOW - timedelta(hours=2, minutes=1), advice="Do this.")
    assert expiry_cause(PHRASE, held_up, NOW) == (
        f"It waited too long for {PHRASE}, which has been running for 2h 1m. Do this."
    )
    assert expiry_cause("the lock", Blocker(what="the lock", advice="Do this."), NOW) == (
        "It waited too long for the lock. Do this."
    )
    assert expiry_cause("x", Blocker(what="x"), NOW) == "It waited too long for x"
    assert expiry_cause("its turn", None, NOW) == "It waited too long for its turn"
