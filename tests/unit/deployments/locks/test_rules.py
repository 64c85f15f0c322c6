"""What a lock stops, and its words."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.lock import ALL, Follower, Lock
from bot.deployments.locks.rules import (
    covering,
    describe,
    free_for,
    in_force,
    is_same_person,
    stopped,
    stopping,
    subject_of,
)
from bot.deployments.model import Actor, AppKey, Phase
from tests.support.builders import NOW, a_deployment

ADA = Actor(user="U0ADA", team="T01", name="ada")
GRACE = Actor(user="U0GRACE", team="T01", name="grace")
KEY = AppKey(server="production", dokku_app="web")
LOCK = Lock(id="01L", key=KEY, app="myapp", holder=GRACE, since=NOW)
FREEZE = replace(LOCK, id="01A", key=ALL, app="all")
HOUR = timedelta(hours=1)


def test_lock_stops_all_but_its_holder() -> None:
    assert stopping([LOCK], KEY, ADA, NOW) == LOCK
    assert stopping([LOCK], KEY, GRACE, NOW) is None
    assert stopping([LOCK], replace(KEY, server="staging"), ADA, NOW) is None
    assert stopping([LOCK], replace(KEY, dokku_app="shop"), ADA, NOW) is None


def test_lock_on_every_app_stops_each_of_them_besides_its_own_lock() -> None:
    assert stopping([FREEZE], replace(KEY, dokku_app="shop"), ADA, NOW) == FREEZE
    mine = replace(LOCK, holder=ADA)
    assert stopping([FREEZE, mine], KEY, ADA, NOW) == FREEZE
    assert covering([FREEZE, mine], KEY) == [mine, FREEZE]


def test_lock_ends_at_its_end() -> None:
    lock = replace(LOCK, until=NOW + HOUR)
    assert in_force([lock], NOW + HOUR - timedelta(microseconds=1)) == [lock]
    assert in_force([lock], NOW + HOUR) == []
    assert stopping([lock], KEY, ADA, NOW + HOUR) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ADA, replace(ADA, name=None), True),
        (ADA, GRACE, False),
        (Actor(user="cli", name="root"), Actor(user="cli", name="root"), True),
        (Actor(user="cli", name="root"), Actor(user="cli", name="deploy"), False),
        (Actor(user="cli", name="ada"), ADA, False),
    ],
)
def test_holder_is_known_by_slack_id_or_name_in_the_shell(
    one: Actor, other: Actor, same: bool
) -> None:
    assert is_same_person(one, other) is same


def test_only_queued_deployments_of_others_are_stopped() -> None:
    theirs = a_deployment(id="1", requested_by=ADA)
    holders = a_deployment(id="2", requested_by=GRACE)
    runs = a_deployment(id="3", requested_by=ADA, phase=Phase.BUILDING)
    assert stopped([theirs, holders, runs], [LOCK], NOW) == {"1": LOCK}


def test_app_is_free_when_nothing_runs_or_waits_and_nobody_else_holds_it() -> None:
    follower = Follower(key=KEY, app="myapp", user=ADA.user, since=NOW)
    assert free_for(follower, [], [], NOW)
    assert not free_for(follower, [], [a_deployment()], NOW)
    assert free_for(follower, [], [a_deployment(phase=Phase.FAILED)], NOW)
    assert free_for(follower, [], [a_deployment(dokku_app="shop")], NOW)
    assert free_for(follower, [], [a_deployment(phase=Phase.AWAITING_APPROVAL)], NOW)
    assert not free_for(follower, [LOCK], [], NOW)
    assert not free_for(follower, [FREEZE], [], NOW)
    assert free_for(follower, [replace(LOCK, holder=ADA)], [], NOW)
    assert free_for(follower, [replace(LOCK, until=NOW)], [], NOW)


def test_sentence_names_app_holder_end_and_reason() -> None:
    lock = replace(LOCK, until=NOW + HOUR, reason="release day")
    assert describe(lock) == (
        f"myapp on production is locked by grace until {NOW + HOUR:%Y-%m-%d %H:%M} UTC: "
        "release day."
    )
    assert describe(FREEZE) == "Every app is locked by grace until someone unlocks it."


@pytest.mark.parametrize(
    "text", ["<!channel> <https://evil.example|ok>", "@here *bold* `x`", "a\nb\u202ec", "&lt;"]
)
def test_foreign_reason_and_name_are_harmless_in_the_sentence(text: str) -> None:
    holder = replace(GRACE, name=text)
    said = describe(replace(LOCK, holder=holder, reason=text))
    assert not any(char in said for char in "<>&`\n\u202e")
    assert "@here" not in said


def test_subject_names_the_key() -> None:
    assert subject_of(KEY) == "lock:production/web"
    assert subject_of(ALL) == "lock:all"
