"""A release is called up only after it stayed up."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import Container, Containers
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.stability import Look, NextLook, Watched, has_crashed, judge
from bot.deployments.verdict.wording import sentence_of
from tests.support.builders import (
    CONFIG_SET,
    NEW,
    NEW_WORKER,
    OLD,
    OLD_WORKER,
    PUSH,
    RESTARTED_NEW,
    STRANGER,
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


SENTENCES = {
    "kept_running": "The new release runs and stayed up.",
    "unreadable": "Dokku's command ended well, but its containers could not be read. "
    "What is serving now is not known.",
    "stopped": "The new release was stopped or scaled down before it had proved itself. "
    "Nothing is serving.",
    "replaced": "Another release replaced it before it had proved itself. "
    "What is serving now is not known.",
    "old_again": "The previous release took its place again before the new one had proved "
    "itself. The previous release is serving.",
    "old_beside_new": "Not every process was replaced. "
    "Some processes run the new release, some the old one.",
    "not_up": "The new release did not stay the same for long enough to prove itself. "
    "The new release is what is deployed.",
}


def at(seconds: float, *listed: Container) -> Look:
    return Look(began=seconds, done=seconds + 1, containers=containers(*listed))


def unreadable(seconds: float) -> Look:
    return Look(began=seconds, done=seconds, containers=None)


def step(first: Look | None, now: Look, *, last_word: bool = False) -> NextLook:
    judged = judge(first, now, KNOWN, last_word=last_word)
    assert isinstance(judged, NextLook)
    return judged


def result(first: Look | None, now: Look, known: Watched, *, last_word: bool = False) -> Ended:
    judged = judge(first, now, known, last_word=last_word)
    assert isinstance(judged, Ended)
    return judged


def ending(
    first: Look | None, now: Look, *, last_word: bool = False
) -> tuple[str, Phase | None, Failure | None, Live | None]:
    verdict = result(first, now, KNOWN, last_word=last_word)
    sentence = sentence_of(verdict)
    assert sentence == SENTENCES.get(verdict.rule, sentence)
    return verdict.rule, verdict.phase, verdict.failure, verdict.live


def test_the_first_look_begins_the_settle_time() -> None:
    assert step(None, at(0, NEW)) is NextLook.BEGIN_AGAIN


def test_it_waits_for_the_whole_settle_time_between_the_two_reads() -> None:
    assert step(at(0, NEW), at(10.9, NEW)) is NextLook.WAIT


def test_the_same_containers_after_the_settle_time_are_a_success() -> None:
    expected = ("kept_running", Phase.SUCCEEDED, None, Live.NEW)
    assert ending(at(0, NEW, NEW_WORKER), at(11, NEW, NEW_WORKER)) == expected


def test_a_success_needs_no_last_word_but_takes_it() -> None:
    assert ending(at(0, NEW), at(11, NEW), last_word=True)[0] == "kept_running"


@pytest.mark.parametrize(
    ("state", "live"),
    [
        ("restarting", Live.NEW),
        ("removing", Live.NEW),
        ("exited", Live.NONE),
        ("dead", Live.NONE),
        ("missing", Live.NONE),
    ],
)
def test_a_process_that_is_down_has_crashed(state: str, live: Live) -> None:
    down = a_container(NEW.id, image=NEW.image, state=state)
    expected = ("crashed", Phase.FAILED, Failure.CRASHED, live)
    assert ending(None, at(0, down)) == expected
    assert ending(at(0, NEW), at(3, down)) == expected


def test_a_restart_count_above_zero_is_a_crash_at_the_first_look() -> None:
    once = a_container(NEW.id, image=NEW.image, restarts=1)
    assert ending(None, at(0, once))[0] == "crashed"


def test_a_start_that_moved_is_a_crash() -> None:
    later = a_container(NEW.id, image=NEW.image, started_at="2026-11-24T11:00:21Z")
    assert ending(at(0, NEW), at(11, later))[0] == "crashed"
    assert has_crashed(later, NEW)
    assert not has_crashed(later, None)
    assert not has_crashed(NEW, NEW)


def test_the_crashed_processes_are_named() -> None:
    down = a_container(NEW_WORKER.id, process="worker.1", image=NEW.image, state="exited")
    also = a_container(NEW.id, image=NEW.image, restarts=2)
    verdict = result(None, at(0, down, also), KNOWN)
    assert sentence_of(verdict) == (
        "The new release was released, but web.1, worker.1 does not stay up. "
        "The new release is what is deployed."
    )


def test_a_release_whose_processes_are_all_gone_serves_nothing() -> None:
    gone = a_container(NEW.id, image=NEW.image, state="exited")
    also = a_container(NEW_WORKER.id, process="worker.1", image=NEW.image, state="dead")
    verdict = result(None, at(0, gone, also), KNOWN)
    assert verdict.live is Live.NONE
    assert sentence_of(verdict) == (
        "The new release was released, but web.1, worker.1 does not stay up. Nothing is serving."
    )
    one_left = result(None, at(0, gone, NEW_WORKER), KNOWN)
    assert one_left.live is Live.NEW


def test_a_foreign_restart_of_our_release_begins_the_settle_time_again() -> None:
    assert step(at(0, NEW), at(11, RESTARTED_NEW)) is NextLook.BEGIN_AGAIN


def test_the_image_of_ours_is_learnt_from_the_newest_look_too() -> None:
    known = Watched(
        own=frozenset({NEW.id}),
        images=frozenset(),
        before=KNOWN.before,
        settle=KNOWN.settle,
    )
    judgement = judge(None, at(0, NEW, NEW_WORKER), known, last_word=False)
    assert judgement is NextLook.BEGIN_AGAIN


def test_one_more_process_of_our_release_begins_the_settle_time_again() -> None:
    assert step(at(0, NEW), at(11, NEW, NEW_WORKER)) is NextLook.BEGIN_AGAIN


def test_a_process_that_is_still_being_created_is_waited_for() -> None:
    created = a_container(NEW.id, image=NEW.image, state="created")
    assert step(at(0, created), at(11, created)) is NextLook.BEGIN_AGAIN


@pytest.mark.parametrize(
    ("first", "now"),
    [
        (None, at(0, NEW)),
        (at(0, NEW), at(11, RESTARTED_NEW)),
        (at(0, NEW), at(11, a_container(NEW.id, image=NEW.image, state="created"))),
    ],
)
def test_what_never_stays_the_same_is_no_success_in_the_end(first: Look | None, now: Look) -> None:
    expected = ("not_up", Phase.FAILED, Failure.RELEASE_FAILED, Live.NEW)
    assert ending(first, now, last_word=True) == expected


def test_another_release_in_its_place_makes_it_unknown() -> None:
    expected = ("replaced", Phase.FAILED, Failure.INTERRUPTED, Live.UNKNOWN)
    assert ending(at(0, NEW), at(5, STRANGER)) == expected
    assert ending(at(0, NEW), at(5, NEW, STRANGER)) == expected


def test_what_replaced_it_is_named_where_a_record_tells() -> None:
    known = replace(KNOWN, others=(CONFIG_SET, PUSH))
    verdict = result(at(0, NEW), at(5, STRANGER), known)
    assert sentence_of(verdict) == (
        "It was replaced by git push before it had proved itself. What is serving now is not known."
    )


def test_another_release_that_is_down_for_good_serves_nothing() -> None:
    gone = a_container(STRANGER.id, image=STRANGER.image, state="exited")
    verdict = result(at(0, NEW), at(5, gone), KNOWN)
    assert (verdict.rule, verdict.live) == ("replaced", Live.NONE)
    assert sentence_of(verdict) == (
        "Another release replaced it before it had proved itself. Nothing is serving."
    )


def test_old_beside_new_is_waited_for_until_the_last_word() -> None:
    assert step(at(0, NEW), at(20, NEW, OLD_WORKER)) is NextLook.WAIT
    expected = ("old_beside_new", Phase.FAILED, Failure.RELEASE_FAILED, Live.MIXED)
    assert ending(at(0, NEW), at(20, NEW, OLD_WORKER), last_word=True) == expected


def test_the_old_release_back_in_place_is_no_success() -> None:
    expected = ("old_again", Phase.FAILED, Failure.INTERRUPTED, Live.PREVIOUS)
    assert ending(at(0, NEW), at(20, OLD)) == expected


def test_a_release_that_was_stopped_meanwhile_is_no_success() -> None:
    expected = ("stopped", Phase.FAILED, Failure.INTERRUPTED, Live.NONE)
    assert ending(at(0, NEW), at(20)) == expected


def test_unreadable_containers_are_waited_for_until_the_last_word() -> None:
    assert step(at(0, NEW), unreadable(20)) is NextLook.WAIT
    expected = ("unreadable", Phase.FAILED, Failure.INTERNAL, Live.UNKNOWN)
    assert ending(at(0, NEW), unreadable(20), last_word=True) == expected


def test_an_unreadable_first_look_compares_with_nothing() -> None:
    assert step(unreadable(0), at(11, NEW)) is NextLook.BEGIN_AGAIN


ANY_LOOK = st.none() | st.lists(
    st.sampled_from(
        [
            NEW,
            NEW_WORKER,
            OLD,
            OLD_WORKER,
            STRANGER,
            RESTARTED_NEW,
            a_container(NEW.id, image=NEW.image, restarts=1),
            a_container(NEW.id, image=NEW.image, state="created"),
        ]
    ),
    unique_by=lambda one: one.process,
    max_size=2,
).map(lambda listed: Containers(listed=tuple(listed)))


@given(first=ANY_LOOK, now=ANY_LOOK, gap=st.floats(0, 60), last_word=st.booleans())
def test_a_success_was_up_twice(
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
    assert all(one.running and one.restarts == 0 for one in now.listed)
    assert now.images == {NEW.image}
