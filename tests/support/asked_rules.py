"""What the bot asked the rules of the verdict, and what they said: beside the end, the way there.

Nothing is replaced: each question is passed on, and noted.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bot.deployments.model import Live
from bot.deployments.verdict.evidence import Evidence, images_of, live_of, release_of
from bot.deployments.verdict.rules import before_start, decide
from bot.deployments.verdict.stability import Look, judge
from bot.deployments.verdict.stability import Watched as WatchedRelease
from tests.verdicts.flat import Verdict, flat
from tests.verdicts.rows import Ended, Row, Unstarted, Watched
from tests.verdicts.samples import SETTLING, look

Seen = frozenset[Live] | None
"""Whose containers a look showed; None: it showed nothing."""

RULES: tuple[Callable[..., Any], ...] = (decide, judge, before_start)


@dataclass(kw_only=True)
class AskedRules:
    """Every question so far, with its answer."""

    ends: list[tuple[Evidence, Verdict]] = field(default_factory=list)
    looks: list[tuple[Seen, bool, Verdict]] = field(default_factory=list)
    """What was seen, whether it was the last word, and what was said of it."""
    unstarted: list[Verdict] = field(default_factory=list)

    def note(self, answer: Verdict, *asked: Any, **more: Any) -> None:
        if "last_word" in more:
            _, now, known = asked
            self.looks.append((_seen(now, known), more["last_word"], answer))
        elif isinstance(asked[0], Evidence):
            self.ends.append((asked[0], answer))
        else:
            self.unstarted.append(answer)

    def show(self, row: Row) -> bool:
        """Whether evidence of the row's kind was met, and gave what the row says, to the word."""
        match row:
            case Ended():
                said = row.outcome()
                return any(
                    verdict == said and alike(row.evidence, evidence)
                    for evidence, verdict in self.ends
                )
            case Watched():
                now = _seen(look(0, row.now), SETTLING)
                return (now, row.last_word, row.outcome()) in self.looks
            case Unstarted():
                return row.outcome() in [_in_the_tables_words(one) for one in self.unstarted]
            case _:
                raise TypeError(row)


def alike(row: Evidence, met: Evidence) -> bool:
    """Whether evidence that was met is of the row's kind; more lines may have been read."""
    return _kind(row) == _kind(met) and row.output.markers <= met.output.markers


def _in_the_tables_words(verdict: Verdict) -> Verdict:
    """With the names that the table gives to the app and the server."""
    reason = re.sub(r"127\.0\.0\.1:\d+", "dokku.example.com:22", verdict.reason)
    return replace(verdict, reason=reason.replace("myapp", "web").replace("default", "production"))


def _seen(now: Look, known: WatchedRelease) -> Seen:
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
    """Listen to what the bot asks."""
    rules = AskedRules()
    asking = [module for name, module in sys.modules.items() if name.startswith("bot.deployments.")]
    for rule in RULES:
        name = rule.__name__
        for module in asking:
            if vars(module).get(name) is rule:
                monkeypatch.setattr(module, name, _listening(rule, rules))
    return rules


def _listening(rule: Callable[..., Any], rules: AskedRules) -> Callable[..., Any]:
    def ask(*asked: Any, **more: Any) -> Any:
        answer = rule(*asked, **more)
        rules.note(flat(answer), *asked, **more)
        return answer

    return ask
