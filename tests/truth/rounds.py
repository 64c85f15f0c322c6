"""One round: play it, wait for what is still to come, and hold every end against the journal."""

import asyncio
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.clock import SystemClock
from bot.deployments.execution.owned import REFUSED_BY_LOCK
from bot.deployments.model import AuditEntry, Deployment
from bot.deployments.states import ENDINGS, status_of
from bot.simulators.dokku.recordings import NEWEST
from bot.store.engine import open_store
from bot.webhooks.payload import planner
from tests.truth.actors import AppActor, keep_docker, make_weather
from tests.truth.bot_process import late_spells
from tests.truth.history import History
from tests.truth.judge import Circumstances, End, judge, overlaps
from tests.truth.pace import CAP_S, LATE_INTERVAL, MAX_DURATION_S, SPEED
from tests.truth.plans import (
    CAPPED,
    Plan,
    Repertoire,
    Weather,
    app_names,
    deployed_before,
    fronts,
    plans,
)
from tests.truth.rules import SYNC, UNRECORDED, misdeeds
from tests.truth.shown import show_problems, shown_at
from tests.truth.theatre import BUSY, FINISHED, Theatre, open_theatre
from tests.truth.truth import Case

CALM_WITHIN_S = 20.0
LATE_S = 10 * LATE_INTERVAL.total_seconds()
LINE_TROUBLES = frozenset(
    {Weather.DROP, Weather.STALL, Weather.REFUSE, Weather.SWALLOW, Weather.SLOW}
)
LINE_ECHO_S = 3.0
"""After a spell the bot's old connection may still be dead: it finds out by its own time-outs."""

Audit = Sequence[tuple[datetime, AuditEntry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the harness wanted of a deployment."""

    plan: Plan | None
    cancel: bool


@dataclass(kw_only=True)
class Told:
    """One deployment with all that was told of it."""

    row: Deployment
    audit: Audit
    first: End | None
    last: End
    plan: Plan | None
    case: Case
    late: Case | None = None
    """As it was when its end was corrected."""
    wrong: list[str] = field(default_factory=list)
    unknown: str | None = None
    corrected: bool = False
    cancel_asked_at: datetime | None = None
    """Simulated."""
    shown_after_s: float | None = None
    """Real seconds from the end of its command to the message that showed its first end."""

    @property
    def number(self) -> int | None:
        """Its number in the run."""
        return self.plan.number if self.plan else None


@dataclass(kw_only=True)
class RoundResult:
    """What a round brought."""

    number: int
    told: list[Told]
    problems: list[str]
    """Wrong, but of no single deployment."""
    lost: int
    troubles: Sequence[str]
    log: str
    """The bot's own, of all its lives."""
    took_s: float


async def play_round(
    seed: int,
    number: int,
    *,
    faults: bool,
    version: str = NEWEST,
    only: Sequence[Plan] | None = None,
) -> RoundResult:
    """Play and judge a round."""
    began = time.monotonic()
    may = Repertoire(faults=faults, old=version != NEWEST)
    live = deployed_before(seed, number, may)
    wanted = plans(seed, number, may=may) if only is None else only
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        async with open_theatre(Path(folder), live=live, version=version) as theatre:
            actors = [AppActor(theatre=theatre, name=name, seed=seed) for name in app_names()]
            await _play(theatre, actors, wanted, fronts(seed, number, may))
            problems = await _calm(theatre)
            await theatre.stop_bot()
            result = await _judge_all(theatre, actors, faults=faults)
            result.number = number
            result.problems += problems
            result.took_s = time.monotonic() - began
            return result


async def _play(
    theatre: Theatre, actors: Sequence[AppActor], wanted: Sequence[Plan], weather: Sequence[Any]
) -> None:
    over = asyncio.Event()
    raining = asyncio.create_task(make_weather(theatre, weather, over))
    keeping = asyncio.create_task(keep_docker(theatre))
    watching = asyncio.create_task(theatre.watch_machine())
    try:
        async with asyncio.TaskGroup() as group:
            for actor in actors:
                own = [plan for plan in wanted if plan.app == actor.name]
                group.create_task(actor.run(own))
    finally:
        over.set()
        await raining
        keeping.cancel()
        watching.cancel()
        theatre.stage.dokku.revive_docker_for_test()


async def _calm(theatre: Theatre) -> list[str]:
    """Wait for late verdicts, edits, mentions and webhooks; what never came."""
    if any(one["data"]["live"] == "unknown" for one in theatre.webhooks):
        await asyncio.sleep(LATE_S)
    deadline = time.monotonic() + CALM_WITHIN_S
    async with _store(theatre) as store:
        while True:
            rows = await store.recent(limit=10_000)
            open_ones = [row.id for row in rows if row.phase not in ENDINGS]
            problems = [f"{one} has not ended" for one in open_ones]
            for row in rows:
                if row.phase in ENDINGS:
                    problems += show_problems(theatre, row, await store.audit_of(row.id))
            if not problems or time.monotonic() > deadline:
                return problems
            await asyncio.sleep(0.2)


def _store(theatre: Theatre) -> Any:
    clock = SystemClock()
    url = theatre.stage.settings["DATABASE_URL"]
    return open_store(url, clock=clock, planner=planner((), clock=clock), migrate=False)


async def _judge_all(theatre: Theatre, actors: Sequence[AppActor], *, faults: bool) -> RoundResult:
    async with _store(theatre) as store:
        rows = sorted(await store.recent(limit=10_000), key=lambda row: row.id)
        audits = {row.id: await store.audit_of(row.id) for row in rows}
    host = theatre.stage.dokku
    histories = {
        name: History([one for one in host.journal if one.app == name]) for name in app_names()
    }
    asked = {
        key: Asked(plan=plan, cancel=key in actor.cancelled)
        for actor in actors
        for key, plan in actor.planned.items()
    }
    nobody = Asked(plan=None, cancel=False)
    told = [
        _judge_one(
            theatre, row, audits[row.id], histories[row.app], asked.get(row.id, nobody), faults
        )
        for row in rows
        if row.phase in ENDINGS
    ]
    problems = [problem for actor in actors for problem in actor.problems]
    problems += [f"the simulator complains: {one}" for one in host.complaints]
    for name, history in histories.items():
        cases = [one for one in told if one.row.app == name]
        problems += [f"{name}: {one}" for one in misdeeds(history, cases)]
    return RoundResult(
        number=0,
        told=told,
        problems=problems,
        lost=sum(actor.lost for actor in actors),
        troubles=[
            f"{_clock(theatre, one.began)} to {_clock(theatre, one.ended)} {one.kind}"
            for one in theatre.troubles
        ],
        log=theatre.bot.log.read_text(errors="replace"),
        took_s=0.0,
    )


def _clock(theatre: Theatre, monotonic_s: float) -> str:
    if monotonic_s == float("inf"):
        return "the end"
    return f"{theatre.stage.dokku.clock.instant_of(monotonic_s):%H:%M:%S}"


def _judge_one(
    theatre: Theatre,
    row: Deployment,
    audit: Audit,
    history: History,
    asked: Asked,
    faults: bool,
) -> Told:
    claims = [at for at, entry in audit if entry.action == "starting"]
    refused = [at for at, entry in audit if entry.action == REFUSED_BY_LOCK]
    claimed = theatre.simulated(claims[0] if claims else row.created_at)
    # Refused by Dokku's lock it goes back to its place in the line, and is claimed anew.
    again = [at for at in claims if not refused or at > refused[-1]]
    begins = theatre.simulated(again[0]) if again else claimed
    finished = row.finished_at or row.created_at
    ends = theatre.simulated(finished)

    def case_until(instant: datetime) -> Case:
        runs = [
            run
            for run in history.runs.values()
            if not run.elsewhere
            and run.source in {SYNC, UNRECORDED}
            and claims
            # What begins after its end is a later deployment's, corrected or not.
            and claimed <= history.entries[run.began].at <= min(instant, ends)
        ]
        return Case(
            history=history,
            runs=[run for run in runs if history.entries[run.began].at >= begins],
            begins=begins,
            ends=instant,
            refused=[run for run in runs if history.entries[run.began].at < begins],
        )

    case = case_until(ends)
    known = _circumstances(theatre, row, cancel_asked=asked.cancel, faults=faults)
    first = _first_end(theatre.webhooks, row.id)
    last = End(
        status=status_of(row.phase),
        failure=row.failure,
        live=row.live or "unknown",
    )
    told = Told(row=row, audit=audit, first=first, last=last, plan=asked.plan, case=case)
    asked_at = [at for at, entry in audit if entry.action == "cancel_asked"]
    told.cancel_asked_at = theatre.simulated(asked_at[0]) if asked_at else None
    told.shown_after_s = _shown_after(theatre, told, known)
    judgement = judge(first or last, case, known)
    told.wrong, told.unknown = judgement.wrong, judgement.unknown
    corrections = [at for at, entry in audit if entry.action == "corrected"]
    if first is not None and first != last:
        if not corrections:
            told.wrong.append(f"{first} became {last} without a correction")
            return told
        told.corrected = True
        # What a silent network kept back may arrive, and run, after the line was called lost.
        told.late = case_until(theatre.simulated(corrections[-1]))
        judgement = judge(last, told.late, known)
        told.wrong += [f"corrected to {one}" for one in judgement.wrong]
    return told


def _shown_after(theatre: Theatre, told: Told, known: Circumstances) -> float | None:
    """None too where trouble kept the bot from hearing or telling of it."""
    run, shown = told.case.last, shown_at(theatre, told.row.id, (told.first or told.last).status)
    held_after_it = told.plan is not None and told.plan.at == "before_exit"
    if run is None or run.ended is None or shown is None or held_after_it:
        return None
    ended, seen = told.case.history.entries[run.ended].at, theatre.simulated(shown)
    troubles = (*known.line_troubled, *known.busy, *known.docker_down, *known.bot_died)
    if overlaps(troubles, ended, seen):
        return None
    return (seen - ended).total_seconds() / SPEED


def _first_end(webhooks: Sequence[Mapping[str, Any]], deployment_id: str) -> End | None:
    for body in webhooks:
        data = body["data"]
        if body["type"] == FINISHED and data["id"] == deployment_id:
            return End(status=data["status"], failure=data["failure"], live=data["live"])
    return None


def _circumstances(
    theatre: Theatre, row: Deployment, *, cancel_asked: bool, faults: bool
) -> Circumstances:
    host = theatre.stage.dokku
    end_of_all = host.clock.now()
    late = late_spells(theatre.bot.late)

    def spells(kinds: Collection[str], echo_s: float) -> list[tuple[datetime, datetime]]:
        return [
            (
                host.clock.instant_of(one.began),
                end_of_all
                if one.ended == float("inf")
                else host.clock.instant_of(one.ended + echo_s),
            )
            for one in theatre.troubles
            if one.kind in kinds
        ]

    return Circumstances(
        line_troubled=spells(LINE_TROUBLES, LINE_ECHO_S),
        busy=[
            *spells({BUSY}, LINE_ECHO_S),
            *((theatre.simulated(began), theatre.simulated(ended)) for began, ended in late),
        ],
        docker_down=[(began, ended or end_of_all) for began, ended in host.docker_outages],
        bot_died=spells(frozenset({Weather.STOP, Weather.KILL}), 0.0),
        keeps_records=host.keeps_build_records,
        cancel_asked=cancel_asked,
        cap=timedelta(seconds=(CAP_S if row.app == CAPPED else MAX_DURATION_S) * SPEED),
        sha=row.sha,
        faults=faults,
    )
