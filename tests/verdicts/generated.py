"""Seeded evidence of every kind, for the golden file of outcomes: the same on every machine."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random

from bot.deployments.dokku_facts import (
    NEVER_FINALIZED,
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    Snapshot,
)
from bot.deployments.model import LogFacts, LogMarker
from bot.deployments.verdict.evidence import KILLED, PIPE_CLOSED, Evidence
from bot.deployments.verdict.stability import Look, Watched
from tests.verdicts.codes import Watch

SEED = 20261130
DECISIONS = 10_000
WATCHES = 2_000

COMMIT = "https://git.example/acme/web.git#" + "a1b2c3d4" * 5
OTHER_COMMIT = "https://git.example/acme/web.git#" + "9" * 40
MARKS = tuple(LogMarker)
# Most random sets of markers prove nothing: these are the ways that real output takes.
ROUTES: tuple[tuple[LogMarker, ...], ...] = (
    (),
    (LogMarker.FETCHING,),
    (LogMarker.FETCHING, LogMarker.BUILDING),
    (LogMarker.FETCHING, LogMarker.BUILDING, LogMarker.BUILD_FAILED),
    (
        LogMarker.FETCHING,
        LogMarker.BUILDING,
        LogMarker.RELEASING,
        LogMarker.DEPLOYING,
        LogMarker.CHECKS_FAILED,
    ),
    (
        LogMarker.FETCHING,
        LogMarker.BUILDING,
        LogMarker.RELEASING,
        LogMarker.DEPLOYING,
        LogMarker.DEPLOYED,
    ),
    (LogMarker.FETCHING, LogMarker.BUILDING, LogMarker.DEPLOY_SKIPPED),
    (LogMarker.FETCHING, LogMarker.BUILD_SKIPPED),
    (LogMarker.FETCHING, LogMarker.REF_MISSING),
    (LogMarker.FETCHING, LogMarker.REPO_UNREACHABLE),
    (LogMarker.FETCHING, LogMarker.LOCKED),
    (LogMarker.LOCKED,),
    (LogMarker.APP_MISSING,),
)
IMAGES = ("old", "new", "other")
STATES = ("running",) * 6 + ("restarting", "exited", "created", "dead", "missing")
SOURCES = ("git-hook", "config-redeploy", "ps:restart", "git:sync")


def decisions() -> Iterator[Evidence]:
    """`DECISIONS` pieces of evidence about a command that ended, or whose connection was lost."""
    chance = Random(SEED)
    for number in range(DECISIONS):
        evidence = _evidence(chance)
        # By chance alone a whole good end hardly ever comes about.
        yield _good(evidence) if number % 5 == 0 else evidence


def watches() -> Iterator[Watch]:
    """`WATCHES` pairs of looks, and a tenth of that with quiet ends instead of dead containers."""
    yield from _watches(Random(SEED + 1), WATCHES)
    for number, one in enumerate(_watches(Random(SEED + 2), WATCHES // 10)):
        now = _quiet(one.now)
        if number % 20 == 0:
            now = replace(now, containers=None, app_gone=True)
        yield replace(one, first=one.first and _quiet(one.first), now=now)


def _quiet(look: Look) -> Look:
    """Paused instead of dead; exited with status 0, never restarted, instead of missing."""
    if look.containers is None:
        return look
    listed = tuple(
        replace(one, state="paused")
        if one.state == "dead"
        else replace(one, state="exited", exit_code=0, restarts=0)
        if one.state == "missing"
        else one
        for one in look.containers.listed
    )
    return replace(look, containers=Containers(listed=listed))


def _watches(chance: Random, number: int) -> Iterator[Watch]:
    for _ in range(number):
        before = _snapshot(chance, keeps_records=True)
        names = _names(chance)
        first = _look(chance, 0.0) if chance.random() < 0.7 else None
        now = _look(chance, chance.choice((3.0, 11.0, 20.0)))
        if first is not None and chance.random() < 0.6:
            now = Look(began=now.began, done=now.done, containers=first.containers)
        yield Watch(
            first=first,
            now=now,
            known=Watched(
                own=names,
                images=frozenset(chance.sample(IMAGES, chance.choice((0, 1)))),
                before=before,
                settle=timedelta(seconds=10),
                others=_others(chance),
            ),
            last_word=chance.random() < 0.3,
        )


def _evidence(chance: Random) -> Evidence:
    keeps_records = chance.random() < 0.7
    status = chance.choice((0, 0, 0, 1, 1, KILLED, PIPE_CLOSED, None, None, None, None))
    markers = frozenset(chance.choice(ROUTES))
    if chance.random() < 0.2:
        markers |= frozenset(chance.sample(MARKS, 1))
    before = _snapshot(chance, keeps_records=keeps_records)
    after = _containers(chance)
    if chance.random() < 0.35:
        after = before.containers
    report = AppReport(
        metadata=chance.choice((COMMIT, COMMIT, OTHER_COMMIT, "")), locked=chance.random() < 0.3
    )
    return Evidence(
        exit_status=status,
        keeps_records=keeps_records,
        record=_record(chance) if keeps_records and chance.random() < 0.8 else None,
        output=LogFacts(
            markers=markers,
            started=_names(chance) if chance.random() < 0.7 else frozenset(),
            renamed=_names(chance) if chance.random() < 0.2 else frozenset(),
            error=chance.choice((None, "exit code: 3")),
        ),
        before=before,
        after=after,
        report=report if chance.random() < 0.9 else None,
        others=_others(chance),
        expected=chance.choice((COMMIT, COMMIT, None)),
        cancel_asked=chance.random() < 0.2,
        cap_reached=chance.random() < 0.15,
        last_word=chance.random() < 0.3,
        never_began=chance.random() < 0.05,
        lock_was_free=chance.random() < 0.5,
        lost_long=chance.random() < 0.3,
    )


def _good(evidence: Evidence) -> Evidence:
    """A good end that agrees with itself, beside whatever else was generated."""
    output = replace(
        evidence.output,
        markers=frozenset(ROUTES[5]),
        started=evidence.after.ids if evidence.after else frozenset(),
    )
    return replace(
        evidence,
        exit_status=0 if evidence.exit_status is not None else None,
        record=evidence.record and replace(evidence.record, status=BuildStatus.SUCCEEDED),
        report=AppReport(metadata=COMMIT),
        output=output,
        expected=COMMIT,
    )


def _record(chance: Random) -> BuildRecord:
    status = chance.choice(tuple(BuildStatus))
    code = chance.choice((None, 0, 1, PIPE_CLOSED, NEVER_FINALIZED))
    return BuildRecord(id="b1", app="web", status=status, source="git:sync", exit_code=code)


def _others(chance: Random) -> tuple[BuildRecord, ...]:
    return tuple(
        BuildRecord(
            id=f"b{number}",
            app="web",
            status=chance.choice(tuple(BuildStatus)),
            source=chance.choice(SOURCES),
            kind=chance.choice(("build", "deploy")),
        )
        for number in range(5, 5 + chance.choice((0, 0, 0, 1, 2)))
    )


def _snapshot(chance: Random, *, keeps_records: bool) -> Snapshot:
    metadata = chance.choice((OTHER_COMMIT, OTHER_COMMIT, COMMIT, ""))
    return Snapshot(
        builds=frozenset({"b0"}) if keeps_records else None,
        report=AppReport(metadata=metadata),
        containers=_containers(chance),
    )


def _look(chance: Random, at: float) -> Look:
    return Look(began=at, done=at, containers=_containers(chance))


def _containers(chance: Random) -> Containers | None:
    if chance.random() < 0.08:
        return None
    number = chance.choice((0, 1, 1, 1, 2, 2, 3))
    return Containers(listed=tuple(_container(chance, process) for process in range(number)))


def _container(chance: Random, process: int) -> Container:
    return Container(
        id=f"{chance.randrange(4)}{process}" * 6,
        process=f"web.{process + 1}",
        image=chance.choice(IMAGES),
        state=chance.choice(STATES),
        restarts=chance.choice((0, 0, 0, 0, 1, 8)),
        started_at=chance.choice(("2026-11-24T11:00:00Z", "2026-11-24T11:00:20Z")),
    )


def _names(chance: Random) -> frozenset[str]:
    return frozenset(
        f"{chance.randrange(4)}{process}" * 6 for process in range(chance.choice((0, 1, 2, 3)))
    )
