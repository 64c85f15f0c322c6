"""Health, readiness and metrics over HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bot.errors import ConfigError
from bot.metrics import Metrics
from bot.web import HealthReport, open_web

WELL = HealthReport(
    parts={"database": None, "slack": None, "scheduler": None}, servers={"production": None}
)


@asynccontextmanager
async def site(readiness: HealthReport = WELL) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    async def ready() -> HealthReport:
        return readiness

    async with (
        open_web("127.0.0.1", 0, ready=ready, metrics=Metrics()) as opened,
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
