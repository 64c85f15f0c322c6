"""What is requested and what happens to it: random, but the same for the same seed."""

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
"""What was recorded on a Dokku before 0.38, or is assembled from that."""
OLD_BROKEN_WAYS = {"dokku_killed": 4}
REFUSALS = frozenset({"ref_missing", "repo_unreachable", "repo_refused", "repo_denied"})
HOLD_LINES = (
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
"""Lines at which a run is held: from the fetch to the very end."""


class Act(StrEnum):
    """An action on a deployment while it runs."""

    CANCEL = "cancel"
    PUSH = "push"
    REBUILD = "ps:rebuild"
    RESTART = "ps:restart"
    CONFIG = "config:set"
    SCALE = "ps:scale"
    STOP = "ps:stop"
    CANCEL_OUTSIDE = "builds:cancel"
    KILL_DOKKU = "kill -9 of Dokku's processes"
    CUT = "all connections are cut"
    KILL_BOT = "kill -9 of the bot"


OUTSIDE_ACTS = tuple(act for act in Act if act is not Act.CANCEL)
OLD_OUTSIDE_ACTS = (Act.PUSH, Act.RESTART, Act.KILL_DOKKU, Act.CUT, Act.KILL_BOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One deployment."""

    number: int
    """Counted over the whole run; with the seed it identifies the deployment."""
    app: str
    way: str
    """The simulated Dokku's behaviour for it."""
    ref: str | None
    """Branch, tag or full commit; None: a commit that was never deployed."""
    act: Act | None
    at: str | None
    """The line at which the run is held for `act`; None: `act` comes after `after_s`."""
    after_s: float
    held_s: float
    """How long the run is held after the act."""
    for_ever: bool
    """The run is held until its deployment has ended."""
    pushed_into: bool
    """An outside `git push` is running when it is requested."""
    at_once: bool
    """Requested without waiting for the end of the previous one."""
    scale: dict[str, int] | None
    """Set before the request; None: left as it is."""
    checks: bool


class Fault(StrEnum):
    """A fault that affects every running deployment."""

    DROP = "connections are cut"
    STALL = "nothing passes"
    REFUSE = "connections are refused"
    SWALLOW = "connections are swallowed"
    SLOW = "answers are slow"
    DOCKER = "docker is down"
    STOP = "the bot is stopped and started"
    KILL = "the bot is killed and started"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One fault: its delay after the previous one, and its duration."""

    kind: Fault
    after_s: float
    lasts_s: float


def app_names() -> Sequence[str]:
    """The apps of one round."""
    return [*(f"app{number}" for number in range(APPS - 1)), CAPPED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may happen in a run."""

    faults: bool
    old: bool
    """On a Dokku before 0.38, for which fewer recordings exist."""

    @property
    def ways(self) -> Mapping[str, int]:
        """Possible behaviours, with their weights."""
        good, broken = (OLD_WAYS, OLD_BROKEN_WAYS) if self.old else (WAYS, BROKEN_WAYS)
        return {**good, **broken} if self.faults else good

    @property
    def outside_acts(self) -> Sequence[Act]:
        """Possible outside acts."""
        return OLD_OUTSIDE_ACTS if self.old else OUTSIDE_ACTS

    @property
    def fault_kinds(self) -> Sequence[Fault]:
        """Faults that may affect every deployment."""
        return [one for one in Fault if not (self.old and one is Fault.DOCKER)]


def deployed_before(seed: int, number: int, may: Options) -> frozenset[str]:
    """The apps that serve when the round begins; on an old Dokku, all of them.

    No failing first deploy was recorded there.
    """
    chance = random.Random(f"{seed}/round {number}")
    return frozenset(name for name in app_names() if may.old or chance.random() < 0.6)


def plans(seed: int, number: int, *, may: Options, count: int = ROUND) -> Sequence[Plan]:
    """The deployments of a round, in the order in which each app gets them."""
    names = app_names()
    first = number * ROUND
    return [_plan(seed, first + place, names[place % APPS], may) for place in range(count)]


def _plan(seed: int, number: int, app: str, may: Options) -> Plan:
    chance = random.Random(f"{seed}/{number}")
    faults, ways = may.faults, may.ways
    act, at = _act(chance, may), None
    if act is not None and chance.random() < 0.6:
        at = chance.choice(HOLD_LINES)
    for_ever = app == CAPPED and chance.random() < 0.5 and (faults or not may.old)
    if for_ever:
        # A hanging fetch (before 0.38, anything silent) can neither be stopped nor seen to be dead:
        # that is a fault.
        at = chance.choice(HOLD_LINES if faults else HOLD_LINES[1:])
    # With checks off, containers are only named when renamed: a run stopped earlier proves nothing.
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


def _act(chance: random.Random, may: Options) -> Act | None:
    drawn = chance.random()
    if drawn < 0.12:
        return Act.CANCEL
    if may.faults and drawn < 0.42:
        return chance.choice(may.outside_acts)
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


def planned_faults(seed: int, number: int, may: Options) -> Sequence[PlannedFault]:
    """The faults of a round; those left over at its end are dropped."""
    chance = random.Random(f"{seed}/faults {number}")
    return [_planned_fault(chance, may) for _ in range(40)] if may.faults else []


def _planned_fault(chance: random.Random, may: Options) -> PlannedFault:
    kind = chance.choice(may.fault_kinds)
    if kind is Fault.STALL and chance.random() < 0.25:
        lasts_s = chance.uniform(9.0, 11.0)  # longer than five polls wait
    elif kind is Fault.SLOW:
        lasts_s = chance.uniform(0.5, 1.5)
    else:
        lasts_s = chance.uniform(0.05, 1.2)
    return PlannedFault(kind=kind, after_s=chance.expovariate(1 / 4.0), lasts_s=lasts_s)
