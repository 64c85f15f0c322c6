"""The stability check: time between reads, moved starts, learnt images. Cases: tests/verdicts."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import Container, Containers
from bot.deployments.model import Phase
from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.stability import Look, NextLook, Watched, has_crashed, judge
from tests.support.builders import (
    NEW,
    NEW_WORKER,
    OLD,
    OLD_WORKER,
    OTHER_RELEASE,
    RESTARTED_NEW,
    a_container,
    a_snapshot,
    containers,
)

KNOWN = Watched(
    own=frozenset({NEW.id, NEW_WORKER.id}),
    images=frozenset({NEW.image}),
    before=a_snapshot(containers(OLD, OLD_WORKER)),
    settle=timedelta(seconds=10),
)


def at(seconds: float, *listed: Container) -> Look:
    """A read that took a second."""
    return Look(began=seconds, done=seconds + 1, containers=containers(*listed))


def phase(judged: Ended | NextLook) -> Phase | None:
    return judged.phase if isinstance(judged, Ended) else None


def test_whole_settle_time_passes_between_the_two_reads() -> None:
    assert judge(at(0, NEW), at(10.9, NEW), KNOWN, last_word=False) is NextLook.WAIT
    assert phase(judge(at(0, NEW), at(11, NEW), KNOWN, last_word=False)) is Phase.SUCCEEDED


def test_time_limit_does_not_shorten_the_settle_time() -> None:
    assert judge(at(0, NEW), at(10.9, NEW), KNOWN, last_word=True) is NextLook.WAIT


def test_moved_start_is_a_crash() -> None:
    later = a_container(NEW.id, image=NEW.image, started_at="2026-11-24T11:00:21Z")
    judged = judge(at(0, NEW), at(11, later), KNOWN, last_word=False)
    assert isinstance(judged, Ended)
    assert judged.rule == "crashed"
    assert has_crashed(later, NEW)
    assert not has_crashed(later, None)
    assert not has_crashed(NEW, NEW)


def test_own_image_is_learnt_from_the_newest_read_too() -> None:
    known = Watched(
        own=frozenset({NEW.id}),
        images=frozenset(),
        before=KNOWN.before,
        settle=KNOWN.settle,
    )
    judged = judge(None, at(0, NEW, NEW_WORKER), known, last_word=False)
    assert judged is NextLook.BEGIN_AGAIN


ANY_LOOK = st.none() | st.lists(
    st.sampled_from(
        [
            NEW,
            NEW_WORKER,
            OLD,
            OLD_WORKER,
            OTHER_RELEASE,
            RESTARTED_NEW,
            a_container(NEW.id, image=NEW.image, restarts=1),
            *(
                a_container(NEW.id, image=NEW.image, state=state)
                for state in ("created", "paused", "restarting", "removing", "exited", "dead")
            ),
            replace(NEW_WORKER, state="exited", exit_code=0),
        ]
    ),
    unique_by=lambda one: one.process,
    max_size=2,
).map(lambda listed: Containers(listed=tuple(listed)))


@given(first=ANY_LOOK, now=ANY_LOOK, gap=st.floats(0, 60), last_word=st.booleans())
def test_success_was_up_twice(
    first: Containers | None, now: Containers | None, gap: float, last_word: bool
) -> None:
    earlier = Look(began=0, done=0, containers=first)
    later = Look(began=gap, done=gap, containers=now)
    verdict = judge(earlier, later, KNOWN, last_word=last_word)
    if not isinstance(verdict, Ended) or verdict.phase is not Phase.SUCCEEDED:
        return
    assert gap >= 10
    assert first is not None
    assert now is not None
    assert first.ids == now.ids
    assert all(one.running and one.restarts == 0 for one in (*first.listed, *now.listed))
    assert now.images == {NEW.image}
