"""The stability check: time between reads, moved starts, learnt images. Cases: tests/verdicts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import Container, Containers
from bot.deployments.model import Live, Phase
from bot.deployments.verdict.decisions import Cause, Ended
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


def ended_as(first: Look | None, now: Look, known: Watched = KNOWN, *, last: bool = False) -> Ended:
    judged = judge(first, now, known, last_word=last)
    assert isinstance(judged, Ended)
    return judged


def is_down(container: Container, state: str, **more: Any) -> Container:
    return replace(container, state=state, **more)


def test_process_that_exited_with_0_is_doubted_for_20_seconds_at_most() -> None:
    patient = replace(KNOWN, settle=timedelta(minutes=10))
    gone = is_down(NEW, "exited", exit_code=0)
    assert judge(at(5, gone), at(25.9, gone), patient, last_word=False) is NextLook.WAIT
    assert ended_as(at(5, gone), at(26, gone), patient).cause is Cause.ENDED_BY_ITSELF


def test_most_severe_cause_names_the_result() -> None:
    dead = is_down(NEW, "created", problem="exec: no such file")
    over = is_down(NEW_WORKER, "exited", exit_code=0)
    judged = ended_as(None, at(0, dead, over))
    assert (judged.cause, judged.detail) == (Cause.NEVER_STARTED, "exec: no such file")
    assert judged.down == ((Cause.ENDED_BY_ITSELF, "worker.1"), (Cause.NEVER_STARTED, "web.1"))


def test_memory_limit_is_the_reason_where_docker_says_so() -> None:
    killed = is_down(NEW, "restarting", restarts=3, exit_code=137, oom_killed=True)
    judged = ended_as(None, at(0, killed))
    assert judged.detail == "its memory ran out (Docker: OOMKilled)"
    assert ended_as(None, at(0, replace(killed, oom_killed=False))).detail == ""


def test_processes_are_named_only_while_both_releases_run() -> None:
    crashes = is_down(NEW, "restarting", restarts=3)
    mixed = ended_as(None, at(0, crashes, OLD_WORKER))
    assert mixed.shares == ((Live.NEW, "web.1"), (Live.PREVIOUS, "worker.1"))
    alone = ended_as(None, at(0, crashes, NEW_WORKER))
    assert (alone.live, alone.shares) == (Live.NEW, ())
    at_the_limit = ended_as(at(0, NEW, OLD_WORKER), at(99, NEW, OLD_WORKER), last=True)
    assert at_the_limit.shares == ((Live.NEW, "web.1"), (Live.PREVIOUS, "worker.1"))


def test_stop_from_before_the_start_is_no_stop() -> None:
    gone = is_down(NEW, "exited", exit_code=0)
    stopped = Containers(listed=(gone,), stopped=True)
    look = Look(began=99, done=100, containers=stopped)
    assert ended_as(at(0, gone), look).cause is Cause.STOPPED_OUTSIDE
    earlier = replace(KNOWN, before=a_snapshot(replace(containers(OLD), stopped=True)))
    assert ended_as(at(0, gone), look, earlier).cause is Cause.ENDED_BY_ITSELF
    unread = replace(KNOWN, before=a_snapshot(None))
    assert ended_as(at(0, gone), look, unread).cause is Cause.STOPPED_OUTSIDE


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
