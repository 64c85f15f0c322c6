import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from standardwebhooks import Webhook

from bot.simulators.receiver import Behaviour, Receiver, open_receiver

SECRET = "whsec_c3dvcmRmaXNoIGFuZCBtb3Jl"


def signed(body: str, *, at: datetime | None = None, webhook_id: str = "w1") -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(webhook_id, at, body),
    }


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver(secret=SECRET) as receiver:
        yield receiver


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(
    session: aiohttp.ClientSession, receiver: Receiver, body: str, headers: dict[str, str]
) -> int:
    async with session.post(
        receiver.url, data=body.encode(), headers=headers, allow_redirects=False
    ) as response:
        return response.status


async def test_genuine_delivery_is_accepted(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    body = json.dumps({"type": "deployment.finished"})
    assert await post(session, receiver, body, signed(body)) == 204
    (got,) = await receiver.wait_delivered(1)
    assert (got.webhook_id, got.body) == ("w1", {"type": "deployment.finished"})


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, "{}"),
        (signed("{}"), "{ }"),
        (signed("{}", at=datetime.now(UTC) - timedelta(minutes=6)), "{}"),
        ({**signed("{}"), "webhook-signature": "nonsense"}, "{}"),
        ({**signed("{}"), "webhook-timestamp": "soon"}, "{}"),
    ],
)
async def test_other_requests_are_refused_and_kept(
    receiver: Receiver, session: aiohttp.ClientSession, headers: dict[str, str], body: str
) -> None:
    assert await post(session, receiver, body, headers) == 401
    (got,) = await receiver.wait_for(1)
    assert got.problem
    assert receiver.delivered == ()


async def test_receiver_can_fail_redirect_and_be_gone(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    receiver.answer_for_test(
        Behaviour(status=503),
        Behaviour(status=307, location="http://127.0.0.1:1/"),
        Behaviour(status=410),
    )
    answers = [await post(session, receiver, "[]", signed("[]")) for _ in range(4)]
    assert answers == [503, 307, 410, 204]
    assert [one.delivered for one in receiver.received] == [False, False, False, True]
    assert receiver.received[0].body == {}


async def test_receiver_can_be_slow_and_stay_broken(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    receiver.always_for_test(Behaviour(status=500, after_s=0.01))
    assert [await post(session, receiver, "{}", signed("{}")) for _ in range(2)] == [500, 500]
    receiver.always_for_test(None)
    assert await post(session, receiver, "{}", signed("{}")) == 204


async def test_wait_for_times_out(receiver: Receiver) -> None:
    with pytest.raises(TimeoutError):
        await receiver.wait_for(1, within_s=0.01)


async def test_invalid_json_is_kept_as_an_empty_body(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    waiting = asyncio.create_task(receiver.wait_for(1))
    await post(session, receiver, "nonsense", signed("nonsense"))
    assert (await waiting)[0].body == {}
