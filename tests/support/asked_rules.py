"""Records what the bot asks the verdict rules, and their answers.

The rules themselves still answer: each call is passed on and recorded.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import pytest

from bot.deployments.execution import finish, worker
from bot.deployments.followup import late_verdicts
from bot.deployments.model import Live
from bot.deployments.queue import removal
from bot.deployments.verdict import collector
from bot.deployments.verdict.decisions import Decision, Ended
from bot.deployments.verdict.evidence import Evidence, images_of, live_of, release_of
from bot.deployments.verdict.rules import before_start, decide
from bot.deployments.verdict.stability import Look, Watched, judge
from tests.verdicts.answers import Answer, ask
from tests.verdicts.codes import Unstarted, Watch
from tests.verdicts.rows import Row

Seen = frozenset[Live] | None
"""Which releases a look showed; None: it showed nothing."""

CALLERS = (
    (decide, (worker, finish, late_verdicts)),
    (judge, (collector,)),
    (before_start, (finish, removal)),
)
"""Each rule, and the modules that call it."""


@dataclass(kw_only=True)
class AskedRules:
    """Every question so far, with its answer."""

    ends: list[tuple[Evidence, Decision]] = field(default_factory=list)
    looks: list[tuple[Seen, bool, Answer]] = field(default_factory=list)
    """What was seen, whether it was the last look, and the answer."""
    unstarted: list[Ended] = field(default_factory=list)

    def record(self, rule: Callable[..., Any], answer: Any, *asked: Any, **more: Any) -> None:
        if rule is judge:
            _, now, known = asked
            self.looks.append((_seen(now, known), more["last_word"], answer))
        elif rule is decide:
            self.ends.append((asked[0], answer))
        else:
            self.unstarted.append(answer)

    def show(self, row: Row) -> bool:
        """Whether evidence of the row's kind occurred and gave exactly the row's answer."""
        answer = ask(row.question)
        match row.question:
            case Evidence():
                return any(
                    answer == given and alike(row.question, evidence)
                    for evidence, given in self.ends
                )
            case Watch(now=now, known=known, last_word=last_word):
                return (_seen(now, known), last_word, answer) in self.looks
            case Unstarted():
                return answer in [_as_in_the_table(one) for one in self.unstarted]
            case _:
                assert_never(row.question)


def alike(row: Evidence, found: Evidence) -> bool:
    """Whether the evidence is of the row's kind; it may contain more log markers."""
    return _kind(row) == _kind(found) and row.output.markers <= found.output.markers


def _as_in_the_table(result: Ended) -> Ended:
    """The result with the app and server names of the verdict table."""
    detail = re.sub(r"127\.0\.0\.1:\d+", "dokku.example.com:22", result.detail)
    return replace(result, detail=detail.replace("myapp", "web").replace("default", "production"))


def _seen(now: Look, known: Watched) -> Seen:
    if now.containers is None:
        return None
    images = known.images | images_of(known.own, now.containers)
    before = known.before.containers
    return frozenset(release_of(one, known.own, images, before) for one in now.containers.listed)


def _kind(e: Evidence) -> tuple[object, ...]:
    record = (e.record.status, e.record.exit_code) if e.record else None
    lock = e.report is not None and e.report.locked and not e.keeps_records
    return (
        e.exit_status,
        e.keeps_records,
        record,
        live_of(e),
        e.after is None,
        e.app_gone,
        e.cancel_asked,
        e.cap_reached,
        e.last_word,
        e.never_began,
        e.lock_was_free,
        e.lost_long,
        lock,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> AskedRules:
    """Record what the bot asks."""
    rules = AskedRules()
    for rule, modules in CALLERS:
        for module in modules:
            monkeypatch.setattr(module, rule.__name__, _recorded(rule, rules))
    return rules


def _recorded(rule: Callable[..., Any], rules: AskedRules) -> Callable[..., Any]:
    def ask(*asked: Any, **more: Any) -> Any:
        answer = rule(*asked, **more)
        rules.record(rule, answer, *asked, **more)
        return answer

    return ask
