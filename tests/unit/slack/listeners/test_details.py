"""`Details`, `Older` and `Newer`: to the clicker alone, and the same each time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import Containers
from bot.deployments.model import Live, Phase
from bot.deployments.refs import Commit, Commits
from bot.simulators.slack.model import Message
from bot.slack.render.history import (
    HISTORY_NEWER,
    HISTORY_OLDER,
    MOST_PAGES,
    HistoryPage,
    page_buttons,
    read_page,
)
from bot.slack.render.proof import STATUS_DETAILS, read_details
from tests.support.builders import NEW, NOW, OTHER_RELEASE, SHA, a_deployment, containers
from tests.support.stage import Stage, open_stage

EVIDENCE = "kept_running: exit 0, record succeeded (0)"
HEAD = Commit(sha=SHA, subject="Fix the login redirect", author="Grace")


def add(stage: Stage, number: int, **changes: object) -> str:
    """One deployment of myapp that succeeded; its id."""
    at = NOW + timedelta(minutes=number)
    facts: dict[str, object] = {
        "id": f"01K9ZB00000000000000000{number:03}",
        "app": "myapp",
        "dokku_app": "myapp",
        "ref": f"v{number}",
        "sha": SHA,
        "phase": Phase.SUCCEEDED,
        "live": Live.NEW,
        "evidence": EVIDENCE,
        "build_id": f"b{number:03}",
        "created_at": at,
        "started_at": at,
        "finished_at": at,
        "after": containers(NEW),
        "commits": Commits(head=HEAD),
    }
    return stage.service.known(a_deployment(**(facts | changes))).id


def said(message: Message) -> str:
    return str(message.blocks)


async def newest(stage: Stage, count: int) -> Message:
    await stage.whisper(count)
    return stage.slack.ephemerals(stage.ada)[-1]


async def test_status_is_for_people_and_its_details_are_the_proof() -> None:
    async with open_stage() as stage:
        stage.service.now = containers(NEW)
        row = add(stage, 1)
        await stage.deploy("status myapp")
        answer = await newest(stage, 1)
        assert f"`{SHA[:7]}` *Fix the login redirect* is live on production" in said(answer)
        assert row not in said(answer)
        assert NEW.id not in said(answer)
        # What was just read is the proof of that answer: the server is not asked again.
        stage.service.now = containers(OTHER_RELEASE)
        for count in (2, 3):
            await stage.slack.click(stage.ada, answer, action_id=STATUS_DETAILS)
            proof = await newest(stage, count)
            assert f"Compared with: `{row}`" in said(proof)
            assert f"`{NEW.id}`" in said(proof)
            assert "the same container" in said(proof)


async def test_details_of_a_result_are_what_is_stored() -> None:
    async with open_stage() as stage:
        row = add(stage, 1)
        await stage.service.post(stage.service.rows[row], stage.deploys.id)
        message = await stage.live_message()
        await stage.slack.click(stage.ada, message, action_id="deployment_details")
        proof = said(await newest(stage, 1))
        assert f"Rule and evidence: {EVIDENCE}" in proof
        assert "Dokku build: `b001`" in proof
        assert "last check: unknown" in proof
        assert f"`{NEW.id}`" in proof
        assert not stage.slack.thread(message)


async def test_details_without_any_facts_say_that_they_are_unknown() -> None:
    async with open_stage() as stage:
        row = add(stage, 1, phase=Phase.FAILED, sha=None, evidence=None, build_id=None, after=None)
        await stage.service.post(stage.service.rows[row], stage.deploys.id)
        message = await stage.live_message()
        await stage.slack.click(stage.ada, message, action_id="deployment_details")
        proof = said(await newest(stage, 1))
        assert "Rule and evidence: none stored" in proof
        assert "Dokku build: unknown" in proof
        assert "Commit: unknown" in proof
        assert "now: could not be read" in proof


async def test_history_names_facts_once_and_marks_what_is_live() -> None:
    async with open_stage() as stage:
        stage.service.now = containers(NEW)
        add(stage, 1, after=Containers())
        add(stage, 2)
        add(stage, 3, phase=Phase.FAILED, live=Live.PREVIOUS)
        await stage.deploy("history myapp")
        (text,) = [one["text"]["text"] for one in (await newest(stage, 1)).blocks]
        _, failed, good, first = text.split("\n")
        assert good.startswith(f"🟢 `v2` to production `{SHA[:7]}` _Fix the login redirect_ · by ")
        assert good.endswith("Succeeded · *live now*")
        assert "live" not in failed
        assert "live" not in first


async def test_history_says_when_it_is_unknown_what_is_live() -> None:
    async with open_stage() as stage:
        add(stage, 1)
        await stage.deploy("history myapp")
        answer = said(await newest(stage, 1))
        assert "What is live now on production could not be read in time." in answer
        assert "*live now*" not in answer


async def test_history_is_paged_in_place() -> None:
    async with open_stage() as stage:
        stage.service.now = containers(NEW)
        for number in range(25):
            add(stage, number)
        await stage.deploy("history myapp")
        answer = await newest(stage, 1)
        assert "`v24`" in said(answer)
        assert "`v14`" not in said(answer)
        assert HISTORY_NEWER not in said(answer)

        async def turn(action_id: str, page: str) -> Message:
            await stage.slack.click(
                stage.ada, stage.slack.ephemerals(stage.ada)[-1], action_id=action_id
            )

            def there() -> Message | None:
                shown = stage.slack.ephemerals(stage.ada)[-1]
                return shown if page in said(shown) else None

            found = await stage.slack.until(there)
            assert found is not None
            return found

        second = await turn(HISTORY_OLDER, "(page 2)")
        assert "`v14`" in said(second)
        assert "`v5`" in said(second)
        last = await turn(HISTORY_OLDER, "(page 3)")
        assert "`v0`" in said(last)
        assert HISTORY_OLDER not in said(last)
        assert "`v14`" in said(await turn(HISTORY_NEWER, "(page 2)"))
        assert len(stage.slack.ephemerals(stage.ada)) == 1


@pytest.mark.parametrize("value", ["", "x", "1 production", "-1 * myapp", "²  * myapp", "50 * a"])
def test_value_of_no_page_is_no_page(value: str) -> None:
    assert read_page(value) is None
    assert read_details("") is None


def test_pages_are_read_as_they_were_written() -> None:
    page = HistoryPage(app="<!channel> a b", server="on %2A", number=3)
    (row,) = page_buttons(page, has_older=True)
    older, newer = [read_page(one["value"]) for one in row["elements"]]
    assert (older, newer) == (replace(page, number=4), replace(page, number=2))
    assert "<!channel>" not in str(row)
    end = replace(page, number=MOST_PAGES - 1)
    assert HISTORY_OLDER not in str(page_buttons(end, has_older=True))
