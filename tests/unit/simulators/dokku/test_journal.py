"""The journal: which run did what, and which state an answer shows."""

import asyncio

from bot.simulators.dokku.commands.dispatch import outside_command_for_test, run_command
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import JournalEntry

SHA = "ab" * 20


class Reader:
    """An SSH client that drops what it reads."""

    closed = False

    async def write(self, stream: str, data: bytes) -> None:
        """Drop it."""


def events(host: DokkuHost, event: str) -> list[JournalEntry]:
    return [one for one in host.journal if one.event == event]


async def test_journal_entries_name_their_run() -> None:
    async with DokkuHost(speed=5000.0) as host:
        host.create_app("app", deployed_sha="cd" * 20)
        seen = len(host.journal)
        await run_command(host, f"git:sync --build app https://git.example/app {SHA}", Reader())
        entries = host.journal[seen:]
    (began,) = [one for one in entries if one.event == "run_began"]
    assert began.details["outside"] is False
    for event in ("chosen", "fetched", "image_tagged", "container_started", "switched", "renamed"):
        (entry,) = [one for one in entries if one.event == event]
        assert entry.details["run"] == began.details["run"]
    (tagged,) = [one for one in entries if one.event == "image_tagged"]
    (started,) = [one for one in entries if one.event == "container_started"]
    assert tagged.details["image"] == started.details["image"]
    assert started.details["checks"] is True


async def test_journal_marks_outside_runs() -> None:
    async with DokkuHost(speed=5000.0) as host:
        host.create_app("app", deployed_sha="cd" * 20)
        await host.outside_push_for_test("app", SHA)
        await outside_command_for_test(host, "ps:restart app")
        runs = [one.details["run"] for one in events(host, "run_began")]
        assert all(one.details["outside"] for one in events(host, "run_began"))
    assert len(runs) == len(set(runs))


async def test_journal_records_queries_when_answered() -> None:
    async with DokkuHost(speed=5000.0) as host:
        host.create_app("app", deployed_sha="cd" * 20)
        await run_command(host, "ps:inspect app", Reader())
        host.kill_docker_for_test()
        await outside_command_for_test(host, "ps:inspect app")
    first, second = events(host, "asked")
    assert first.details == {"command": "ps:inspect", "outside": False, "docker_down": False}
    assert second.details == {"command": "ps:inspect", "outside": True, "docker_down": True}


async def test_journal_records_who_cancelled_which_run() -> None:
    async with DokkuHost(speed=200.0) as host:
        host.create_app("app", deployed_sha="cd" * 20)
        host.hold_for_test("app", at="build step 4/")
        push = host.outside_push_for_test("app", SHA)
        await host.until(lambda: host.holding("app"))
        await outside_command_for_test(host, "builds:cancel app")
        await asyncio.wait({push}, timeout=5)
    (began,) = events(host, "run_began")
    (canceled,) = events(host, "canceled")
    assert canceled.details["run"] == began.details["run"]
    assert canceled.details["outside"] is True


async def test_monotonic_readings_convert_to_simulated_instants() -> None:
    async with DokkuHost(speed=100.0) as host:
        clock = host.clock
        assert clock.instant_of(0.5) - clock.instant_of(0.25) == (
            clock.instant_of(0.25) - clock.instant_of(0.0)
        )
        assert (clock.instant_of(1.0) - clock.instant_of(0.0)).total_seconds() == 100.0


async def test_docker_outages_are_recorded() -> None:
    async with DokkuHost(speed=100.0) as host:
        host.kill_docker_for_test()
        host.kill_docker_for_test()
        ((began, ended),) = host.docker_outages
        assert ended is None
        host.revive_docker_for_test()
        host.revive_docker_for_test()
        ((same, ended),) = host.docker_outages
    assert same == began
    assert ended is not None
    assert ended >= began
