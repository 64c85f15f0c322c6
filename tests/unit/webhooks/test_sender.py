import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from bot.errors import ConfigError
from bot.outbox import Endpoint, webhook_lane
from bot.simulators.receiver import Behaviour, Receiver, open_receiver
from bot.webhooks.sender import open_sender
from tests.support.outbox import HandClock, MemoryOutbox

SECRET = "whsec_c3dvcmRmaXNoIGFuZCBtb3Jl"


@asynccontextmanager
async def one_endpoint(
    outbox: MemoryOutbox,
    clock: HandClock,
    url: str,
    secret: str = SECRET,
    form: str = "standard",
    attempt_s: float = 15.0,
) -> AsyncIterator[tuple[str, list[str]]]:
    endpoint = Endpoint(url=url, secret=secret, format=form)
    key = outbox.add(lane=endpoint.lane, deployment="d", body={"type": "t", "data": {"ü": "é"}})
    outcomes: list[str] = []
    async with open_sender(
        endpoints=[endpoint],
        outbox=outbox,
        clock=clock,
        allow_private=True,
        count=outcomes.append,
        attempt_s=attempt_s,
    ):
        yield key, outcomes


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver(secret=SECRET) as receiver:
        yield receiver


async def test_delivery_is_signed(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    async with one_endpoint(outbox, clock, receiver.url) as (key, outcomes):
        await outbox.until(key, state="delivered")
    (got,) = receiver.delivered
    assert got.webhook_id == key
    assert got.body == {"type": "t", "data": {"ü": "é"}}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("deploybot/")
    assert outcomes == ["delivered"]


async def test_attempts_have_one_id_and_different_signatures(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    receiver.answer_for_test(Behaviour(status=500), Behaviour(status=404))
    async with one_endpoint(outbox, clock, receiver.url) as (key, outcomes):
        for tries, wait_s in ((1, 5), (2, 30)):
            await outbox.until(key, tries=tries)
            clock.advance(timedelta(seconds=wait_s))
        await outbox.until(key, state="delivered", tries=2)
    assert [(one.webhook_id, one.genuine, one.answered) for one in receiver.received] == [
        (key, True, 500),
        (key, True, 404),
        (key, True, 204),
    ]
    assert outcomes == ["retried", "retried", "delivered"]


async def test_a_redirect_is_not_followed(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    receiver.answer_for_test(Behaviour(status=307, location=receiver.url))
    async with one_endpoint(outbox, clock, receiver.url) as (key, _):
        row = await outbox.until(key, tries=1)
    assert row.last_error == "it answered 307: redirects are not followed"
    assert len(receiver.received) == 1


async def test_410_turns_the_endpoint_off(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    receiver.answer_for_test(Behaviour(status=410))
    async with one_endpoint(outbox, clock, receiver.url) as (key, outcomes):
        await outbox.until(key, tries=1)
    assert list(outbox.off) == [webhook_lane(receiver.url)]
    assert outcomes == ["turned_off"]


async def test_late_answer_is_a_failure(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    receiver.answer_for_test(Behaviour(after_s=1.0))
    async with one_endpoint(outbox, clock, receiver.url, attempt_s=0.05) as (key, _):
        row = await outbox.until(key, tries=1)
    assert row.last_error == "no answer in time"


async def test_receiver_that_stops_in_the_middle_of_its_headers_is_given_up(
    outbox: MemoryOutbox, clock: HandClock
) -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nx-half: ")
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with one_endpoint(outbox, clock, url, attempt_s=0.2) as (key, _):
            row = await outbox.until(key, tries=1)
            async with asyncio.timeout(5):
                await gone.wait()
    assert row.last_error == "no answer in time"


async def test_refused_connection_is_explained(outbox: MemoryOutbox, clock: HandClock) -> None:
    async with one_endpoint(outbox, clock, "http://127.0.0.1:1/hook") as (key, _):
        row = await outbox.until(key, tries=1)
    assert str(row.last_error).startswith("could not connect: ")


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"],
)
async def test_answer_that_is_not_http_is_a_failure(
    outbox: MemoryOutbox, clock: HandClock, answer: bytes
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with one_endpoint(outbox, clock, f"http://127.0.0.1:{port}/") as (key, _):
            row = await outbox.until(key, tries=1)
    assert row.last_error in {"it hung up without an answer", "its answer was not HTTP"}


async def test_an_endless_answer_is_not_read(outbox: MemoryOutbox, clock: HandClock) -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nonly the beginning")
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with one_endpoint(outbox, clock, f"http://127.0.0.1:{port}/") as (key, _):
            await outbox.until(key, state="delivered")
            async with asyncio.timeout(5):
                await gone.wait()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1"])
async def test_a_private_target_is_refused_where_it_is_not_allowed(
    outbox: MemoryOutbox, clock: HandClock, host: str
) -> None:
    dialled = asyncio.Event()

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.set()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint(url=f"https://{host}:{port}/", secret=SECRET)
        key = outbox.add(lane=endpoint.lane, deployment="d")
        async with open_sender(endpoints=[endpoint], outbox=outbox, clock=clock):
            row = await outbox.until(key, tries=1)
    assert "is a private address" in str(row.last_error)
    assert not dialled.is_set()


async def test_slack_webhook_needs_no_secret(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    receiver.answer_for_test(Behaviour(status=200))
    async with one_endpoint(outbox, clock, receiver.url, secret="", form="slack") as (key, _):
        await outbox.until(key, state="delivered")
    (got,) = receiver.received
    assert "webhook-signature" not in got.headers


@pytest.mark.parametrize(
    ("url", "secret", "words"),
    [
        ("http://ops.example.com/", SECRET, "must begin with https://"),
        ("https://ops.example.com/", "whsec_!", "not base64"),
        ("https://ops.example.com/", "", "empty"),
    ],
)
async def test_unusable_setting_is_refused_at_the_start(
    outbox: MemoryOutbox, clock: HandClock, url: str, secret: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        async with open_sender(
            endpoints=[Endpoint(url=url, secret=secret)], outbox=outbox, clock=clock
        ):
            raise AssertionError


async def test_two_endpoints_need_two_urls(outbox: MemoryOutbox, clock: HandClock) -> None:
    endpoint = Endpoint(url="https://ops.example.com/", secret=SECRET)
    with pytest.raises(ConfigError, match="same URL"):
        async with open_sender(endpoints=[endpoint, endpoint], outbox=outbox, clock=clock):
            raise AssertionError


async def test_body_is_sent_exactly_as_signed(
    outbox: MemoryOutbox, clock: HandClock, receiver: Receiver
) -> None:
    async with one_endpoint(outbox, clock, receiver.url) as (key, _):
        await outbox.until(key, state="delivered")
    assert json.dumps(receiver.received[0].body, ensure_ascii=False, separators=(",", ":")) == (
        '{"type":"t","data":{"ü":"é"}}'
    )


async def test_deliveries_of_a_killed_replica_are_taken_over_within_30_s(
    outbox: MemoryOutbox, clock: HandClock
) -> None:
    endpoint = Endpoint(url="https://ops.example.com/", secret=SECRET)
    async with open_sender(endpoints=[endpoint], outbox=outbox, clock=clock) as sender:
        timings = [lane.timing for lane in sender.lanes]
    assert all(one.hold + one.idle <= timedelta(seconds=30) for one in timings)
