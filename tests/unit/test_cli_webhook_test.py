"""`deploybot webhooks test`: one event now, signed like any other."""

import asyncio
from pathlib import Path

import pytest

from bot.cli import run_cli
from bot.simulators.receiver import Behaviour, open_receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE", "true")


def test_without_an_endpoint_it_says_so(capsys: Capsys) -> None:
    assert run_cli(["webhooks", "test"]) == 1
    assert "No webhook is set." in capsys.readouterr().err


@pytest.mark.parametrize("status", [200, 500])
def test_event_is_sent_at_once(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    async def send() -> tuple[int, list[dict[str, object]]]:
        async with open_receiver(secret=SECRET) as receiver, open_receiver(secret=SECRET) as chat:
            receiver.always_for_test(Behaviour(status=status))
            (tmp_path / "deploybot.toml").write_text(
                f'[[webhooks]]\nurl = "{chat.url}"\nformat = "slack"\n'
            )
            monkeypatch.setenv("DEPLOYBOT_WEBHOOK_URL", receiver.url)
            monkeypatch.setenv("DEPLOYBOT_WEBHOOK_SECRET", SECRET)
            done = await asyncio.to_thread(run_cli, ["webhooks", "test", receiver.url])
            return done, [dict(one.body) for one in receiver.received]

    done, bodies = asyncio.run(send())

    assert done == (0 if status == 200 else 1)
    ((body),) = bodies
    assert body["type"] == "webhook.test"
    said = capsys.readouterr().out
    assert ("took the test event" if status == 200 else "it answered 500") in said


def test_address_that_is_not_set(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_URL", "https://ops.example.com/hook")
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_SECRET", SECRET)

    assert run_cli(["webhooks", "test", "https://other.example.com"]) == 1
    assert "No webhook has the address" in capsys.readouterr().err
