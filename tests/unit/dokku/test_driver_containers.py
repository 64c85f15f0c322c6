"""What the driver makes of answers about containers."""

from typing import Any, cast

import pytest

from bot.dokku.channel import Answer
from bot.dokku.commands import Argv
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.errors import OddReport, OtherScheduler
from bot.redaction import Redactor


class Answering:
    """A connection on which `ps:inspect` answers nothing, with exit status 0."""

    name = "production"

    def __init__(self, scheduler: Answer) -> None:
        self._scheduler = scheduler
        self.asked: list[Argv] = []

    async def run(
        self, argv: Argv, *, timeout_s: float, heavy: bool = False, **_more: object
    ) -> Answer:
        self.asked.append(argv)
        assert timeout_s > 0
        assert heavy is (argv[0] == "ps:inspect")
        empty = Answer(exit_status=0, stdout=b"\n", stderr=b"")
        return empty if argv[0] == "ps:inspect" else self._scheduler


def said(scheduler: str, exit_status: int = 0) -> Answer:
    return Answer(exit_status=exit_status, stdout=scheduler.encode(), stderr=b"")


def driver(answer: Answer) -> tuple[Driver, Answering]:
    connection = Answering(answer)
    made = Driver(cast("Any", connection), redactor=Redactor(), limits=SshLimits())
    return made, connection


@pytest.mark.parametrize("scheduler", ["k3s", "nomad", "kubernetes", "null"])
async def test_other_scheduler_is_named(scheduler: str) -> None:
    dokku, connection = driver(said(f"{scheduler}\n"))
    with pytest.raises(OtherScheduler, match=f"web runs on the scheduler {scheduler}, where"):
        await dokku.containers("web")
    assert connection.asked[1:] == [("scheduler:report", "web", "--scheduler-computed-selected")]


@pytest.mark.parametrize("answer", [said("usage: ...", 1), said("two words"), said("")])
async def test_scheduler_that_is_not_named_is_another_one(answer: Answer) -> None:
    dokku, _ = driver(answer)
    with pytest.raises(OtherScheduler, match="web runs on another scheduler, where"):
        await dokku.containers("web")


async def test_docker_local_that_shows_nothing_is_an_odd_report() -> None:
    dokku, _ = driver(said("docker-local"))
    with pytest.raises(OddReport, match="ps:inspect"):
        await dokku.containers("web")
