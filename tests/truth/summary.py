"""The figures of a run, and the details of each error."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.truth.rounds import Reported, RoundResult

JOURNAL_BEFORE, JOURNAL_AFTER = 6, 12
QUIET = frozenset({"asked"})
"""Frequent journal events that show little."""


@dataclass(kw_only=True)
class Summary:
    """Adds up rounds."""

    seed: int
    faults: str
    version: str
    deployments: int = 0
    wrong: int = 0
    lost_requests: int = 0
    corrected: int = 0
    started_again: int = 0
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    shown_after_s: dict[str, list[float]] = field(default_factory=dict)
    """For results that the bot saw itself, by status."""
    unknown_results: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, result: RoundResult) -> None:
        """Count a round."""
        self.lost_requests += result.lost
        self.problems += [f"round {result.number}: {one}" for one in result.problems]
        for one in result.reported:
            self.deployments += 1
            self.wrong += bool(one.wrong)
            self.corrected += one.corrected
            self.started_again += one.row.attempt > 1
            end = one.first or one.last
            self.ends[str(end)] += 1
            if one.shown_after_s is not None:
                self.shown_after_s.setdefault(end.status, []).append(one.shown_after_s)
            if one.unknown is not None:
                self.unknown[one.unknown.partition(" (")[0]] += 1
                self.unknown_results.append(
                    f"{one.number} {one.row.id} {one.first}: {one.unknown}; {one.row.evidence}"
                )

    @property
    def good(self) -> bool:
        """Nothing was wrong."""
        return self.wrong == 0 and not self.problems

    def as_json(self) -> dict[str, Any]:
        """Ready to print."""
        return {
            "seed": self.seed,
            "faults": self.faults,
            "dokku": self.version,
            "deployments": self.deployments,
            "wrong": self.wrong,
            "problems": len(self.problems),
            "unknown": sum(self.unknown.values()),
            "unknown_causes": dict(self.unknown.most_common()),
            "corrected": self.corrected,
            "started_again": self.started_again,
            "shown_after_s": {
                status: {"p50": _percentile(all_, 0.5), "p95": _percentile(all_, 0.95)}
                for status, all_ in sorted(self.shown_after_s.items())
            },
            "lost_requests": self.lost_requests,
            "ends": dict(sorted(self.ends.items())),
            "seconds": round(self.seconds, 1),
            "per_second": round(self.deployments / self.seconds, 2) if self.seconds else 0.0,
        }


def _percentile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 2)


def story(result: RoundResult, reported: Reported) -> Iterator[str]:
    """Everything a developer needs to see what happened."""
    row, history = reported.row, reported.case.history
    yield f"deployment {reported.number} (round {result.number}) {row.id} of {row.app}"
    for one in reported.wrong:
        yield f"  WRONG {one}"
    yield f"  plan      {reported.plan}"
    yield f"  first     {reported.first}   now {reported.last}"
    yield f"  reason    {row.reason}"
    yield f"  evidence  {row.evidence}"
    yield f"  runs      {[run.number for run in reported.case.runs]}, attempt {row.attempt}"
    yield f"  between   {reported.case.begins:%H:%M:%S.%f} and {reported.case.ends:%H:%M:%S.%f}"
    for at, act in reported.audit:
        detail = " ".join(f"{key}={value}" for key, value in act.detail.items() if value)
        yield f"  audit     {at:%H:%M:%S.%f} {act.action} {act.actor.user} {detail}"
    for trouble in result.troubles:
        yield f"  fault     {trouble}"
    begin = max(0, history.place_at(reported.case.begins) - JOURNAL_BEFORE)
    end = reported.case.end_place + JOURNAL_AFTER
    for entry in history.entries[begin:end]:
        if entry.event in QUIET and entry.details["command"] != "ps:inspect":
            continue
        details = " ".join(f"{key}={_short(value)}" for key, value in entry.details.items())
        yield f"  journal   {entry.at:%H:%M:%S.%f} {entry.event} {details}"
    for line in result.log.splitlines():
        if row.id in line:
            yield f"  bot       {line[:300]}"


def _short(value: object) -> str:
    text = getattr(value, "meaning", None) or str(value)
    return text if len(text) <= 90 else text[:90] + "…"
