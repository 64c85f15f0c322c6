"""Rows of docs/verdicts.md that nobody recorded, shown on the simulated Dokku's model.

Each case runs through the whole bot. Evidence of the kind of each of its rows must occur, and the
rules must give exactly the row's answer; if the last row is a result, the message shows it and the
database stores it. Rows that neither a recording nor the model can show say why (`alone`).
"""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.wording import beside_facts, sentence_of
from bot.simulators.environment import LOOPBACK
from bot.slack.render.text import one_line
from tests.scenarios.conftest import ONE_APP, QuickClock, World, open_world
from tests.support import incidents
from tests.support.asked_rules import AskedRules, asked
from tests.support.incidents import HEADLINES
from tests.support.model_cases import MODEL_CASES, ModelCase
from tests.verdicts.answers import ask
from tests.verdicts.codes import Unstarted
from tests.verdicts.rows import ROWS, Row

__all__ = ["asked"]

MODEL: Mapping[str, Row] = {row.model: row for row in ROWS if row.model}
BEAT = timedelta(milliseconds=300)
"""Between renewals: where the clock skips a time, the bot may do nothing before the next one."""
STAYED_UP = "The new release is running and has stayed up."


def end_of(case: ModelCase) -> tuple[Phase, Failure | None, Live, str]:
    """The result of its last row; if that is not a result, the release stays up."""
    answer = ask(MODEL[case.rows[-1]].question)
    if not isinstance(answer, Ended):
        return Phase.SUCCEEDED, None, Live.NEW, STAYED_UP
    return answer.phase, answer.failure, answer.live, sentence_of(answer)


def test_every_row_is_shown_once_or_has_a_reason() -> None:
    """Each row is replayed, shown on the model by one case, or says why neither is possible."""
    shown = Counter(name for one in MODEL_CASES for name in one.rows)
    assert len(MODEL) == sum(row.model is not None for row in ROWS)
    assert shown == Counter(list(MODEL))
    for row in ROWS:
        replayed = row.recording is not None and row.step is not None
        assert (replayed or row.model is not None) != (row.alone is not None), row.read


@pytest.mark.parametrize("case", MODEL_CASES, ids=lambda one: one.rows[-1])
async def test_model_shows_its_rows(tmp_path: Path, asked: AskedRules, case: ModelCase) -> None:
    apps = incidents.NEW_APP if case.first else ONE_APP
    async with open_world(tmp_path, apps=apps, version=case.version) as world:
        await incidents.scale(world, case.scale)
        timing = {"heartbeat": BEAT, **(case.timing or {})}
        await world.start_bot(timing, QuickClock(speed=1), **case.settings)
        await case.incident(world)
        phase, failure, live, reason = end_of(case)
        if isinstance(MODEL[case.rows[-1]].question, Unstarted):
            reason = in_this_world(reason, world)
        beside = beside_facts(reason, failure=failure, live=live)
        await world.until_message(HEADLINES[phase], "myapp", one_line(beside))
        (row,) = await world.rows()
        assert isinstance(row, Deployment)
        assert (row.phase, row.failure, row.live) == (phase, failure, live)
        assert reason in (row.reason or "")
    assert [name for name in case.rows if not asked.show(MODEL[name])] == []


def in_this_world(reason: str, world: World) -> str:
    """The text with the names of this app and server."""
    where = f"{LOOPBACK}:{world.simulators.server.port}"
    return (
        reason.replace("web", "myapp")
        .replace("production", "default")
        .replace("dokku.example.com:22", where)
    )
