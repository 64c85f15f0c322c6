"""What a person sees of each builder's output, good and bad."""

from pathlib import Path

import pytest

from bot.deployments.log_pages import paginate
from bot.deployments.model import LogMarker
from bot.deployments.verdict.decisions import Ended, StartAgain
from bot.deployments.verdict.wording import sentence_of
from tests.builders.played import Log, logs, play
from tests.support.log_pages import first_error
from tools.docs.builders_page import builders_page

FAILED = [log for log in logs() if log.gives not in {"good", "open"}]
GOOD = [log for log in logs() if log.gives in {"good", "open"}]


def name(log: Log) -> str:
    return log.file


def test_every_log_is_in_the_table() -> None:
    files = {path.stem for path in (Path(__file__).parent / "logs").glob("*.log")}
    assert {log.file for log in logs()} == files


@pytest.mark.parametrize("log", FAILED, ids=name)
def test_failure_and_reason_of_a_log(log: Log) -> None:
    played = play(log.data, log.app)
    ended = played.decided(log.exits)
    assert isinstance(ended, Ended)
    assert ended.failure == log.gives
    assert (log.reason or "") in (played.facts.error or "")
    assert (played.facts.error is None) == (log.reason is None)
    assert log.cause in {None, ended.cause}
    sentence = sentence_of(ended)
    assert (log.reason or "") in sentence
    assert "App build failed" not in sentence


@pytest.mark.parametrize("log", FAILED, ids=name)
def test_excerpt_of_a_log(log: Log) -> None:
    excerpt = play(log.data, log.app).excerpt
    assert [text for text in log.shows if text not in excerpt] == []
    assert [text for text in log.hides if text in excerpt] == []
    assert len(excerpt.split("\n")) <= 10


@pytest.mark.parametrize("log", logs(), ids=name)
def test_steps_of_a_log(log: Log) -> None:
    steps = iter(play(log.data, log.app).steps)
    assert [step for step in log.steps if step not in steps] == []


@pytest.mark.parametrize("log", GOOD, ids=name)
def test_good_log_names_no_failure(log: Log) -> None:
    facts = play(log.data, log.app).facts
    assert facts.error is None
    assert (LogMarker.DEPLOYED in facts.markers) == (log.gives == "good")
    assert not any(marker.endswith("_failed") for marker in facts.markers)


@pytest.mark.parametrize("log", [log for log in FAILED if log.reason], ids=name)
def test_first_error_is_on_the_page_of_the_reason(log: Log) -> None:
    filler = "".join(f"       line {number} of something long\n" for number in range(1_000))
    text = filler + "\n".join(play(log.data, log.app).lines) + "\n"
    page = first_error(text)
    assert page is not None
    assert (log.reason or "")[:40] in paginate(text)[page] + paginate(text)[
        min(page + 1, len(paginate(text)) - 1)
    ]


@pytest.mark.parametrize("log", [log for log in GOOD if log.gives == "good"], ids=name)
def test_good_log_has_no_first_error(log: Log) -> None:
    assert first_error("\n".join(play(log.data, log.app).lines)) is None


def test_lost_command_after_what_only_looks_like_an_error_starts_again() -> None:
    log = next(log for log in logs() if log.file.startswith("41_"))
    for last in (b"which is incompatible.\n", b"Successfully installed", b"ERROR: pip's"):
        played = play(log.data[: log.data.index(last) + len(last)])
        assert isinstance(played.decided(None), StartAgain)
        killed = played.decided(137)
        assert isinstance(killed, Ended)
        assert killed.cause == "killed"
        assert not killed.detail


def test_page_shows_every_log() -> None:
    page = builders_page()
    assert [log.tried for log in logs() if log.tried not in page] == []
