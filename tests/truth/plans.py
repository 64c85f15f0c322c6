"""What is asked, and what happens to it: drawn by chance, the same for the same seed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

ROUND = 40
"""Deployments of one round: one workspace, one server, some apps at once."""
APPS = 8
CAPPED = "capped"
"""The app whose deployments may take `CAP_S` only."""
WAYS = {
    "ok": 44,
    "cached": 5,
    "build_fails": 10,
    "checks_fail": 8,
    "crash_1s": 6,
    "crash_20s": 6,
    "skip_deploy": 4,
    "ref_missing": 3,
    "repo_unreachable": 2,
    "repo_refused": 1,
    "repo_denied": 1,
    "silent_build": 4,
    "garbage": 1,
}
BROKEN_WAYS = {"dokku_killed": 4, "docker_killed": 3}
OLD_WAYS = {
    "ok": 44,
    "build_fails": 10,
    "checks_fail": 8,
    "silent_build": 6,
    "garbage": 1,
}
"""What was recorded of a Dokku before 0.38, or is put together from that."""
OLD_BROKEN_WAYS = {"dokku_killed": 4}
REFUSALS = frozenset({"ref_missing", "repo_unreachable", "repo_refused", "repo_denied"})
MARKS = (
    "Cloning",
    "build step 2/",
    "build step 4/",
    "Releasing",
    "Attempting pre-flight",
    "Triggering early",
    "Running post-deploy",
    "Renaming container",
    "Application deployed",
    "before_exit",
)
"""Where a run is made to stand still: from the fetch to the very end."""


class Act(StrEnum):
    """Something that somebody does to a deployment while it goes on."""

    CANCEL = "cancel"
    PUSH = "push"
    REBUILD = "ps:rebuild"
    RESTART = "ps:restart"
    CONFIG = "config:set"
    SCALE = "ps:scale"
    STOP = "ps:stop"
    CANCEL_ELSEWHERE = "builds:cancel"
    KILL_DOKKU = "kill -9 of Dokku's processes"
    CUT = "all connections are cut"
    KILL_BOT = "kill -9 of the bot"


FOREIGN = tuple(act for act in Act if act is not Act.CANCEL)
OLD_FOREIGN = (Act.PUSH, Act.RESTART, Act.KILL_DOKKU, Act.CUT, Act.KILL_BOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One deployment."""

    number: int
    """In the whole run; with the seed it names the deployment."""
    app: str
    way: str
    """How it goes, in the simulated Dokku's words."""
    ref: str | None
    """Branch, tag or full commit; None: a commit that nobody deployed before."""
    act: Act | None
    at: str | None
    """The line at which the run stands still for `act`; None: it acts after `after_s`."""
    after_s: float
    held_s: float
    """How long the run stands still, from the act on."""
    for_ever: bool
    """It stands still until its deployment has ended."""
    pushed_into: bool
    """Somebody's `git push` is running when it is asked for."""
    at_once: bool
    """Asked for without waiting for the end of the one before."""
    scale: dict[str, int] | None
    """Set before the request; None: left as it is."""
    checks: bool


class Weather(StrEnum):
    """Trouble that meets every deployment of the moment."""

    DROP = "connections are cut"
    STALL = "nothing passes"
    REFUSE = "connections are refused"
    SWALLOW = "connections are swallowed"
    SLOW = "answers are slow"
    DOCKER = "docker is down"
    STOP = "the bot is stopped and started"
    KILL = "the bot is killed and started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """One spell of trouble: so long after the one before, for so long."""

    kind: Weather
    after_s: float
    lasts_s: float


def app_names() -> Sequence[str]:
    """Those of one round."""
    return [*(f"app{number}" for number in range(APPS - 1)), CAPPED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repertoire:
    """What may happen in a run."""

    faults: bool
    old: bool
    """On a Dokku before 0.38, of which less is recorded."""

    @property
    def ways(self) -> Mapping[str, int]:
        """How deployments may go, with their weights."""
        good, broken = (OLD_WAYS, OLD_BROKEN_WAYS) if self.old else (WAYS, BROKEN_WAYS)
        return {**good, **broken} if self.faults else good

    @property
    def foreign(self) -> Sequence[Act]:
        """What others may do."""
        return OLD_FOREIGN if self.old else FOREIGN

    @property
    def weather(self) -> Sequence[Weather]:
        """What may befall everybody."""
        return [one for one in Weather if not (self.old and one is Weather.DOCKER)]


def deployed_before(seed: int, number: int, may: Repertoire) -> frozenset[str]:
    """The apps that serve when the round begins: all of an old Dokku's.

    No first deploy that fails was recorded there.
    """
    chance = random.Random(f"{seed}/round {number}")
    return frozenset(name for name in app_names() if may.old or chance.random() < 0.6)


def plans(seed: int, number: int, *, may: Repertoire, count: int = ROUND) -> Sequence[Plan]:
    """The deployments of a round, in the order in which each app gets its own."""
    names = app_names()
    first = number * ROUND
    return [_plan(seed, first + place, names[place % APPS], may) for place in range(count)]


def _plan(seed: int, number: int, app: str, may: Repertoire) -> Plan:
    chance = random.Random(f"{seed}/{number}")
    faults, ways = may.faults, may.ways
    act, at = _act(chance, may), None
    if act is not None and chance.random() < 0.6:
        at = chance.choice(MARKS)
    for_ever = app == CAPPED and chance.random() < 0.5 and (faults or not may.old)
    if for_ever:
        # Nobody can stop a fetch that hangs (nor, before 0.38, anything that prints nothing), nor
        # see that it is dead: that is a fault.
        at = chance.choice(MARKS if faults else MARKS[1:])
    # With checks off, containers are named when they are renamed: stopped before, nobody can tell.
    stopped = act is not None or for_ever
    checks = chance.random() < 0.93 or may.old or (stopped and not faults)
    way = chance.choices(list(ways), weights=list(ways.values()))[0]
    at_once = chance.random() < 0.15 and way not in REFUSALS
    pushed_into = faults and not at_once and at is None and chance.random() < 0.12
    ref = chance.choice(("main", "feature/login", "v1.0")) if chance.random() < 0.2 else None
    return Plan(
        number=number,
        app=app,
        way=way,
        ref=None if at_once else ref,
        act=act,
        at=at,
        after_s=chance.uniform(0.0, 0.9),
        held_s=chance.choice((0.0, chance.uniform(0.0, 0.5))),
        for_ever=for_ever,
        pushed_into=pushed_into,
        at_once=at_once,
        scale=_scale(chance) if not (at_once or may.old) else None,
        checks=checks,
    )


def _act(chance: random.Random, may: Repertoire) -> Act | None:
    drawn = chance.random()
    if drawn < 0.12:
        return Act.CANCEL
    if may.faults and drawn < 0.42:
        return chance.choice(may.foreign)
    return None


def _scale(chance: random.Random) -> dict[str, int] | None:
    drawn = chance.random()
    if drawn < 0.06:
        return {"web": 0, "worker": 0}
    if drawn < 0.14:
        return {"web": 1, "worker": 1}
    if drawn < 0.2:
        return {"web": 2, "worker": 0}
    return {"web": 1, "worker": 0} if drawn < 0.5 else None


def fronts(seed: int, number: int, may: Repertoire) -> Sequence[Front]:
    """The weather of a round; what is not needed before its end never comes."""
    chance = random.Random(f"{seed}/weather {number}")
    return [_front(chance, may) for _ in range(40)] if may.faults else []


def _front(chance: random.Random, may: Repertoire) -> Front:
    kind = chance.choice(may.weather)
    if kind is Weather.STALL and chance.random() < 0.25:
        lasts_s = chance.uniform(9.0, 11.0)  # longer than five polls wait
    elif kind is Weather.SLOW:
        lasts_s = chance.uniform(0.5, 1.5)
    else:
        lasts_s = chance.uniform(0.05, 1.2)
    return Front(kind=kind, after_s=chance.expovariate(1 / 4.0), lasts_s=lasts_s)
