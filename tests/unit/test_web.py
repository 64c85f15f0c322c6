"""Health, readiness and metrics over HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from bot.errors import ConfigError
from bot.metrics import Metrics
from bot.web import HealthReport, Inside, is_from_this_machine, open_web

WELL = HealthReport(
    parts={"database": None, "slack": None, "scheduler": None}, servers={"production": None}
)


@asynccontextmanager
async def site(
    readiness: HealthReport = WELL, *, token: str | None = "a-long-random-text"
) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    async def ready() -> HealthReport:
        return readiness

    async with (
        open_web(
            "127.0.0.1", 0, ready=ready, metrics=Metrics(), inside=Inside(token=token)
        ) as opened,
        aiohttp.ClientSession() as session,
    ):
        yield f"http://127.0.0.1:{opened.port}", session


async def test_healthz_says_that_the_process_is_up() -> None:
    async with site() as (base, session), session.get(f"{base}/healthz") as answer:
        assert answer.status == 200
        assert await answer.json() == {"ok": True}


async def test_readyz_lists_every_part() -> None:
    async with site() as (base, session), session.get(f"{base}/readyz") as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "ready": True,
            "database": {"ok": True},
            "slack": {"ok": True},
            "scheduler": {"ok": True},
            "servers": {"production": {"ok": True}},
        }


@pytest.mark.parametrize("part", ["database", "slack", "scheduler"])
async def test_broken_part_makes_readyz_503(part: str) -> None:
    readiness = HealthReport(parts={**WELL.parts, part: "it does not answer"})

    async with site(readiness) as (base, session), session.get(f"{base}/readyz") as answer:
        body = await answer.json()
        assert answer.status == 503
        assert body["ready"] is False
        assert body[part] == {"ok": False, "why": "it does not answer"}


async def test_server_that_is_down_keeps_readyz_200() -> None:
    readiness = HealthReport(parts=WELL.parts, servers={"production": "refused"})

    async with site(readiness) as (base, session), session.get(f"{base}/readyz") as answer:
        assert answer.status == 200
        assert (await answer.json())["servers"] == {"production": {"ok": False, "why": "refused"}}


async def test_hanging_part_makes_readyz_503() -> None:
    async def ready() -> HealthReport:
        await asyncio.Event().wait()
        return WELL

    async with (
        open_web("127.0.0.1", 0, ready=ready, metrics=Metrics(), within_s=0.01) as opened,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{opened.port}/readyz") as answer,
    ):
        assert answer.status == 503
        assert (await answer.json())["ready"] is False


async def test_metrics_page() -> None:
    async with site() as (base, session), session.get(f"{base}/metrics") as answer:
        text = await answer.text()
    assert answer.status == 200
    assert "# TYPE deploybot_poll_seconds histogram" in text
    assert "process_resident_memory_bytes" in text


TOKEN = "a-long-random-text"
OUTSIDE = {"X-Forwarded-For": "203.0.113.9"}


@pytest.mark.parametrize(
    "headers",
    [
        OUTSIDE,
        {"Forwarded": "for=203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
        {"x-forwarded-proto": "https"},
        {"Via": "1.1 proxy"},
        {"CF-Connecting-IP": "203.0.113.9"},
        {"Host": "deploybot.example.com"},
        {"Host": "[bad"},
        {"Authorization": "Bearer not-the-token", **OUTSIDE},
        {"Authorization": f"Basic {TOKEN}", **OUTSIDE},
        {"Authorization": "Bearer \xe9", **OUTSIDE},
        {"Authorization": "Bearer", **OUTSIDE},
    ],
)
async def test_others_learn_only_whether_the_bot_is_ready(headers: dict[str, str]) -> None:
    broken = HealthReport(parts={**WELL.parts, "slack": "xoxb refused"}, servers={"a": "down"})
    for readiness, status in ((WELL, 200), (broken, 503)):
        async with site(readiness) as (base, session):
            async with session.get(f"{base}/readyz", headers=headers) as answer:
                assert answer.status == status
                assert await answer.json() == {"ready": status == 200}
            async with session.get(f"{base}/metrics", headers=headers) as answer:
                assert answer.status == 404
                assert "deploybot_" not in await answer.text()
            async with session.get(f"{base}/healthz", headers=headers) as answer:
                assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    ["//metrics", "/healthz/../metrics", "/%6detrics", "/metrics/", "/metrics;x", "/readyz/.."],
)
async def test_no_spelling_of_a_path_shows_metrics_to_others(path: str) -> None:
    async with site() as (base, session):
        url = URL(f"{base}{path}", encoded=True)
        async with session.get(url, headers=OUTSIDE) as answer:
            assert "deploybot_" not in await answer.text()
            assert answer.status == 404


async def test_without_a_token_no_bearer_is_let_in() -> None:
    async with site(token=None) as (base, session):
        for sent in ("Bearer ", "Bearer None", f"Bearer {TOKEN}"):
            headers = {"Authorization": sent, **OUTSIDE}
            async with session.get(f"{base}/metrics", headers=headers) as answer:
                assert answer.status == 404


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_token_shows_details_and_metrics(scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}", **OUTSIDE}
    async with site() as (base, session):
        async with session.get(f"{base}/readyz", headers=headers) as answer:
            assert "servers" in await answer.json()
        async with session.get(f"{base}/metrics", headers=headers) as answer:
            assert "deploybot_poll_seconds" in await answer.text()


async def test_hanging_part_is_no_reason_for_others() -> None:
    async def ready() -> HealthReport:
        await asyncio.Event().wait()
        return WELL

    async with (
        open_web("127.0.0.1", 0, ready=ready, metrics=Metrics(), within_s=0.01) as opened,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{opened.port}/readyz", headers=OUTSIDE) as answer,
    ):
        assert answer.status == 503
        assert await answer.json() == {"ready": False}


async def test_second_port_shows_everything_and_nothing_of_slack() -> None:
    async def ready() -> HealthReport:
        return WELL

    async def events(_request: web.Request) -> web.Response:
        return web.Response()

    async with (
        open_web(
            "127.0.0.1",
            0,
            ready=ready,
            metrics=Metrics(),
            inside=Inside(port=0),
            extra_routes=[web.post("/slack/events", events)],
        ) as opened,
        aiohttp.ClientSession() as session,
    ):
        base = f"http://127.0.0.1:{opened.inside_port}"
        async with session.get(f"{base}/readyz", headers=OUTSIDE) as answer:
            assert "servers" in await answer.json()
        async with session.get(f"{base}/metrics", headers=OUTSIDE) as answer:
            assert "deploybot_poll_seconds" in await answer.text()
        async with session.post(f"{base}/slack/events") as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    ("remote", "host", "inside"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.9.9.9", "localhost", True),
        ("::1", "[::1]:8080", True),
        ("::ffff:127.0.0.1", "localhost:8080", True),
        ("172.17.0.1", "localhost", False),
        ("203.0.113.9", "127.0.0.1", False),
        ("", "localhost", False),
        ("127.0.0.1", "", False),
    ],
)
def test_who_is_on_this_machine(remote: str, host: str, inside: bool) -> None:
    request = make_mocked_request("GET", "/", headers={"Host": host}).clone(remote=remote)

    assert is_from_this_machine(request) is inside


async def test_extra_routes_are_served() -> None:
    async def events(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    async def ready() -> HealthReport:
        return WELL

    routes = [web.post("/slack/events", events)]
    async with (
        open_web("127.0.0.1", 0, ready=ready, metrics=Metrics(), extra_routes=routes) as opened,
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{opened.port}/slack/events", data="hello") as answer,
    ):
        assert await answer.text() == "hello"


async def test_taken_port_names_the_setting() -> None:
    async def ready() -> HealthReport:
        return WELL

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"PORT: port {port} of 127.0.0.1 cannot be opened"):
            async with open_web("127.0.0.1", port, ready=ready, metrics=Metrics()):
                pass
