"""Secrets of every kind in every recorded log, in chunks of any size: none comes out anywhere."""

import json
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache

import pytest

from bot.deployments.excerpt import around_error
from bot.deployments.log_pages import paginate
from bot.deployments.model import Deployment, Event, Failure, Live, LogFacts, Phase
from bot.deployments.progress import Progress
from bot.dokku.app_secrets import secret_values
from bot.dokku.log_markers import LogReader, fixed_texts
from bot.dokku.stream import OutputReader
from bot.operations import records
from bot.redaction import Redactor
from bot.redaction_rules import MASK
from bot.slack.render.deployment import render
from bot.slack.thread_replies import result_reply
from bot.webhooks.payload import standard_body
from bot.webhooks.slack_format import slack_message
from tests.support.builders import NOW, a_deployment
from tests.support.log_pages import log_view
from tests.support.planted import (
    APP_CONFIG,
    KINDS,
    PRINTED,
    SECRETS,
    SETTING,
    Planted,
    leaks,
    plainly,
)
from tests.unit.dokku.recordings import VERSIONS, Recording, deploys

RECORDED = [
    one
    for version in VERSIONS
    for one in deploys(version)
    if not one.scenario.startswith("i_app_missing")
]


def app_of(recording: Recording) -> str:
    return recording.argv[2] if recording.argv[1].startswith("--") else recording.argv[1]


@cache
def redactor(app: str) -> Redactor:
    return Redactor([SETTING]).with_known(secret_values(APP_CONFIG), spared=fixed_texts(app))


def planted(recording: Recording, printed: Callable[[str], str], places: Sequence[float]) -> bytes:
    """The recording with all kinds at some places in it."""
    lines = recording.both.decode().splitlines(keepends=True)
    block = [printed(line) + "\n" for kind in KINDS for line in kind.lines]
    for at in sorted((round(place * len(lines)) for place in places), reverse=True):
        lines[at:at] = block
    return "".join(lines).encode()


def read(data: bytes, app: str, sizes: Callable[[], int]) -> tuple[list[str], LogFacts]:
    output, log = OutputReader(redactor(app)), LogReader(app)
    shown: list[str] = []
    while data:
        size = sizes()
        lines = output.feed(data[:size])
        data = data[size:]
        log.feed(lines)
        shown += [line.shown for line in lines]
    lines = output.finish()
    log.feed(lines)
    return shown + [line.shown for line in lines], log.facts


def ways_out(app: str, shown: Sequence[str], facts: LogFacts) -> dict[str, str]:
    """Every text that the lines of a failed deployment get into."""
    row: Deployment = a_deployment(
        app=app,
        phase=Phase.FAILED,
        failure=Failure.BUILD_FAILED,
        live=Live.PREVIOUS,
        reason=f"The build failed: {facts.error}",
        url=facts.url,
        finished_at=NOW + timedelta(seconds=80),
    )
    progress = Progress(
        step=facts.step, tail=tuple(shown[-40:]), excerpt=around_error(shown, facts.error)
    )
    log = "\n".join(shown)
    texts = {
        "log": log,
        "facts": repr(facts),
        "mention": repr(result_reply(row)),
        "details": "\n".join(records.details(row, NOW)),
        "json": json.dumps(records.as_json(row, NOW)),
    }
    for phase in (Phase.FAILED, Phase.BUILDING):
        message = render(a_deployment(app=app, phase=phase), progress, now=NOW, buttons=())
        texts[f"message {phase}"] = f"{message.text} {message.blocks}"
    for page in range(len(paginate(log))):
        texts[f"page {page}"] = repr(log_view(row, log, page=page, buttons=()))
    event = Event(type="deployment.finished", log_tail=tuple(shown))
    body = standard_body(row, event, at=NOW)
    texts["webhook"] = json.dumps(body, ensure_ascii=False)
    texts["chat webhook"] = json.dumps(slack_message(body), ensure_ascii=False)
    return texts


@pytest.mark.parametrize("printed", PRINTED)
@pytest.mark.parametrize("recording", RECORDED, ids=str)
def test_planted_secrets_never_come_out_of_a_recorded_log(
    recording: Recording, printed: Callable[[str], str]
) -> None:
    app = app_of(recording)
    rng = random.Random(str(recording))
    data = planted(recording, printed, [0.0, rng.random(), rng.random(), 1.0])
    clean, plain = read(recording.both, app, lambda: 65_536)
    for sizes in (lambda: len(data), lambda: rng.randint(1, 40), lambda: 4_096):
        shown, facts = read(data, app, sizes)
        assert leaks(ways_out(app, shown, facts)) == []
        # The other lines are unchanged, and give the same facts.
        assert facts.started == plain.started
        assert facts.markers >= plain.markers
        assert [line for line in clean if line not in set(shown)] == []


@pytest.mark.parametrize("recording", RECORDED, ids=str)
def test_a_clean_log_is_shown_as_it_is(recording: Recording) -> None:
    shown, _ = read(recording.both, app_of(recording), lambda: 65_536)
    assert [line for line in shown if MASK in line] == []


def test_every_kind_is_masked_wherever_a_very_long_line_is_cut() -> None:
    texts = [line for kind in KINDS if len(kind.lines) == 1 for line in kind.lines]
    for offset in range(3_900, 4_010, 9):
        for text in texts:
            # A blank before and behind: in the middle of a word there is no assignment.
            line = "x" * offset + f" {text} " + "y" * 9_000 + "\n"
            output = OutputReader(redactor("web"))
            lines = [*output.feed(line.encode()), *output.finish()]
            joined = "".join(one.shown for one in lines)
            assert [one for one in SECRETS if one in joined] == [], text
            assert joined.startswith("x" * offset)


@pytest.mark.parametrize("kind", KINDS, ids=lambda one: one.kind)
def test_every_kind_is_masked_alone(kind: Planted) -> None:
    lines = "".join(plainly(line) + "\n" for line in kind.lines)
    shown, _ = read(f"-----> before\n{lines}#9 after\n".encode(), "web", lambda: 3)
    assert leaks({"log": "\n".join(shown)}) == []
    assert (shown[0], shown[-1]) == ("-----> before", "#9 after")
    assert MASK in shown[1]
