"""One round: run it, wait for outstanding reports, and compare every result with the journal."""

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
from tests.truth.bot_process import late_periods
from tests.truth.faults import cause_faults, keep_docker_running
from tests.truth.forbidden import SYNC, UNRECORDED, forbidden_commands
from tests.truth.harness import BUSY, FINISHED, Harness, open_harness
from tests.truth.history import History
from tests.truth.judge import Circumstances, Result, judge, overlaps
from tests.truth.pace import CAP_S, LATE_INTERVAL, MAX_DURATION_S, SPEED
from tests.truth.plans import (
    CAPPED,
    Fault,
    Options,
    Plan,
    app_names,
    deployed_before,
    planned_faults,
    plans,
)
from tests.truth.requesters import AppRequester
from tests.truth.shown import display_problems, shown_at
from tests.truth.truth import Case

REPORTED_WITHIN_S = 20.0
LATE_S = 10 * LATE_INTERVAL.total_seconds()
CONNECTION_FAULTS = frozenset({Fault.DROP, Fault.STALL, Fault.REFUSE, Fault.SWALLOW, Fault.SLOW})
CONNECTION_ECHO_S = 3.0
"""After a fault the bot's old connection may still be dead until its own time-outs show it."""

Audit = Sequence[tuple[datetime, AuditEntry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the harness requested for a deployment."""

    plan: Plan | None
    cancel: bool


@dataclass(kw_only=True)
class Reported:
    """One deployment with everything that was reported about it."""

    row: Deployment
    audit: Audit
    first: Result | None
    last: Result
    plan: Plan | None
    case: Case
    late: Case | None = None
    """The deployment at the time of its correction."""
    wrong: list[str] = field(default_factory=list)
    unknown: str | None = None
    corrected: bool = False
    cancel_asked_at: datetime | None = None
    """Simulated."""
    shown_after_s: float | None = None
    """Real seconds from the end of its command to the message with its first result."""

    @property
    def number(self) -> int | None:
        """Its number in the run."""
        return self.plan.number if self.plan else None


@dataclass(kw_only=True)
class RoundResult:
    """The outcome of a round."""

    number: int
    reported: list[Reported]
    problems: list[str]
    """Errors that belong to no single deployment."""
    lost: int
    troubles: Sequence[str]
    log: str
    """The bot's log, over all its restarts."""
    took_s: float


async def run_round(
    seed: int,
    number: int,
    *,
    faults: bool,
    version: str = NEWEST,
    only: Sequence[Plan] | None = None,
) -> RoundResult:
    """Run and judge a round."""
    began = time.monotonic()
    may = Options(faults=faults, old=version != NEWEST)
    live = deployed_before(seed, number, may)
    wanted = plans(seed, number, may=may) if only is None else only
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        async with open_harness(Path(folder), live=live, version=version) as harness:
            requesters = [
                AppRequester(harness=harness, name=name, seed=seed) for name in app_names()
            ]
            await _run(harness, requesters, wanted, planned_faults(seed, number, may))
            problems = await _outstanding(harness)
            await harness.stop_bot()
            result = await _judge_all(harness, requesters, faults=faults)
            result.number = number
            result.problems += problems
            result.took_s = time.monotonic() - began
            return result


async def _run(
    harness: Harness,
    requesters: Sequence[AppRequester],
    wanted: Sequence[Plan],
    planned: Sequence[Any],
) -> None:
    over = asyncio.Event()
    faults = asyncio.create_task(cause_faults(harness, planned, over))
    docker = asyncio.create_task(keep_docker_running(harness))
    machine = asyncio.create_task(harness.watch_machine())
    try:
        async with asyncio.TaskGroup() as group:
            for requester in requesters:
                own = [plan for plan in wanted if plan.app == requester.name]
                group.create_task(requester.run(own))
    finally:
        over.set()
        await faults
        docker.cancel()
        machine.cancel()
        harness.simulators.dokku.revive_docker_for_test()


async def _outstanding(harness: Harness) -> list[str]:
    """Wait for late verdicts, edits, mentions and webhooks; return what never arrived."""
    if any(one["data"]["live"] == "unknown" for one in harness.webhooks):
        await asyncio.sleep(LATE_S)
    deadline = time.monotonic() + REPORTED_WITHIN_S
    async with _store(harness) as store:
        while True:
            rows = await store.recent(limit=10_000)
            open_ones = [row.id for row in rows if row.phase not in ENDINGS]
            problems = [f"{one} has not ended" for one in open_ones]
            for row in rows:
                if row.phase in ENDINGS:
                    problems += display_problems(harness, row, await store.audit_of(row.id))
            if not problems or time.monotonic() > deadline:
                return problems
            await asyncio.sleep(0.2)


def _store(harness: Harness) -> Any:
    clock = SystemClock()
    url = harness.simulators.settings["DATABASE_URL"]
    return open_store(url, clock=clock, planner=planner((), clock=clock), migrate=False)


async def _judge_all(
    harness: Harness, requesters: Sequence[AppRequester], *, faults: bool
) -> RoundResult:
    async with _store(harness) as store:
        rows = sorted(await store.recent(limit=10_000), key=lambda row: row.id)
        audits = {row.id: await store.audit_of(row.id) for row in rows}
    host = harness.simulators.dokku
    histories = {
        name: History([one for one in host.journal if one.app == name]) for name in app_names()
    }
    asked = {
        key: Asked(plan=plan, cancel=key in requester.cancelled)
        for requester in requesters
        for key, plan in requester.planned.items()
    }
    not_asked = Asked(plan=None, cancel=False)
    reported = [
        _judge_one(
            harness, row, audits[row.id], histories[row.app], asked.get(row.id, not_asked), faults
        )
        for row in rows
        if row.phase in ENDINGS
    ]
    problems = [problem for requester in requesters for problem in requester.problems]
    problems += [f"simulator complaint: {one}" for one in host.complaints]
    for name, history in histories.items():
        cases = [one for one in reported if one.row.app == name]
        problems += [f"{name}: {one}" for one in forbidden_commands(history, cases)]
    return RoundResult(
        number=0,
        reported=reported,
        problems=problems,
        lost=sum(requester.lost for requester in requesters),
        troubles=[
            f"{_clock(harness, one.began)} to {_clock(harness, one.ended)} {one.kind}"
            for one in harness.troubles
        ],
        log=harness.bot.log.read_text(errors="replace"),
        took_s=0.0,
    )


def _clock(harness: Harness, monotonic_s: float) -> str:
    if monotonic_s == float("inf"):
        return "the end"
    return f"{harness.simulators.dokku.clock.instant_of(monotonic_s):%H:%M:%S}"


def _judge_one(
    harness: Harness,
    row: Deployment,
    audit: Audit,
    history: History,
    asked: Asked,
    faults: bool,
) -> Reported:
    claims = [at for at, entry in audit if entry.action == "starting"]
    refused = [at for at, entry in audit if entry.action == REFUSED_BY_LOCK]
    claimed = harness.simulated(claims[0] if claims else row.created_at)
    # After a refusal by Dokku's lock it returns to its place in the queue and is claimed again.
    again = [at for at in claims if not refused or at > refused[-1]]
    begins = harness.simulated(again[0]) if again else claimed
    finished = row.finished_at or row.created_at
    ends = harness.simulated(finished)

    def case_until(instant: datetime) -> Case:
        runs = [
            run
            for run in history.runs.values()
            if not run.outside
            and run.source in {SYNC, UNRECORDED}
            and claims
            # A run that begins after its end belongs to a later deployment, corrected or not.
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
    known = _circumstances(harness, row, cancel_asked=asked.cancel, faults=faults)
    first = _first_result(harness.webhooks, row.id)
    last = Result(
        status=status_of(row.phase),
        failure=row.failure,
        live=row.live or "unknown",
    )
    reported = Reported(row=row, audit=audit, first=first, last=last, plan=asked.plan, case=case)
    asked_at = [at for at, entry in audit if entry.action == "cancel_asked"]
    reported.cancel_asked_at = harness.simulated(asked_at[0]) if asked_at else None
    reported.shown_after_s = _shown_after(harness, reported, known)
    judgement = judge(first or last, case, known)
    reported.wrong, reported.unknown = judgement.wrong, judgement.unknown
    corrections = [at for at, entry in audit if entry.action == "corrected"]
    if first is not None and first != last:
        if not corrections:
            reported.wrong.append(f"{first} became {last} without a correction")
            return reported
        reported.corrected = True
        # A silent network may deliver a command after the connection was reported as lost.
        reported.late = case_until(harness.simulated(corrections[-1]))
        judgement = judge(last, reported.late, known)
        reported.wrong += [f"corrected to {one}" for one in judgement.wrong]
    return reported


def _shown_after(harness: Harness, reported: Reported, known: Circumstances) -> float | None:
    """None also if a fault kept the bot from reading or reporting it."""
    run, result = reported.case.last, reported.first or reported.last
    shown = shown_at(harness, reported.row.id, result.status)
    held_after_it = reported.plan is not None and reported.plan.at == "before_exit"
    if run is None or run.ended is None or shown is None or held_after_it:
        return None
    ended, seen = reported.case.history.entries[run.ended].at, harness.simulated(shown)
    troubles = (*known.connection_faults, *known.busy, *known.docker_down, *known.bot_died)
    if overlaps(troubles, ended, seen):
        return None
    return (seen - ended).total_seconds() / SPEED


def _first_result(webhooks: Sequence[Mapping[str, Any]], deployment_id: str) -> Result | None:
    for body in webhooks:
        data = body["data"]
        if body["type"] == FINISHED and data["id"] == deployment_id:
            return Result(status=data["status"], failure=data["failure"], live=data["live"])
    return None


def _circumstances(
    harness: Harness, row: Deployment, *, cancel_asked: bool, faults: bool
) -> Circumstances:
    host = harness.simulators.dokku
    end_of_round = host.clock.now()
    late = late_periods(harness.bot.late)

    def periods(kinds: Collection[str], echo_s: float) -> list[tuple[datetime, datetime]]:
        return [
            (
                host.clock.instant_of(one.began),
                end_of_round
                if one.ended == float("inf")
                else host.clock.instant_of(one.ended + echo_s),
            )
            for one in harness.troubles
            if one.kind in kinds
        ]

    return Circumstances(
        connection_faults=periods(CONNECTION_FAULTS, CONNECTION_ECHO_S),
        busy=[
            *periods({BUSY}, CONNECTION_ECHO_S),
            *((harness.simulated(began), harness.simulated(ended)) for began, ended in late),
        ],
        docker_down=[(began, ended or end_of_round) for began, ended in host.docker_outages],
        bot_died=periods(frozenset({Fault.STOP, Fault.KILL}), 0.0),
        keeps_records=host.keeps_build_records,
        cancel_asked=cancel_asked,
        cap=timedelta(seconds=(CAP_S if row.app == CAPPED else MAX_DURATION_S) * SPEED),
        sha=row.sha,
        faults=faults,
    )
