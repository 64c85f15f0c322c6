"""`deploybot check` and `run` behind proxies, captive portals and broken networks."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.cli import run_cli
from bot.clock import Clock, SystemClock
from bot.operations.check import run_checks
from bot.operations.findings import Check
from bot.slack.bolt import open_intake
from bot.slack.client import open_client
from tests.support import odd_networks
from tests.support.fake_service import FakeService
from tests.support.settings import environment

FAR = "https://slack.test/api/"
PASSWORD = "s3same-open"
NOT_JSON = "no answer: what answered was not Slack's JSON"


class FirstWait(Clock):
    """The system's clock; the first wait never ends, and is an event."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self.waits = asyncio.Event()

    def now(self) -> datetime:
        return self._real.now()

    def monotonic(self) -> float:
        return self._real.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        self.waits.set()
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{PASSWORD}@127.0.0.1:{port}")


def slack_only(api_url: str) -> dict[str, str]:
    return environment(SLACK_API_URL=api_url, DOKKU_HOST="127.0.0.1", DOKKU_PORT="9") | {
        "DOKKU_KNOWN_HOSTS": environment()["DOKKU_KNOWN_HOSTS"].replace(
            "dokku.example.com", "127.0.0.1"
        )
    }


async def slack_check(folder: Path, api_url: str) -> Check:
    found: Sequence[Check] = await run_checks(environ=slack_only(api_url), folder=folder)
    (one,) = [check for check in found if check.what.startswith("slack")]
    assert not one.ok
    assert "\n" not in one.line()
    assert PASSWORD not in one.line()
    return one


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (odd_networks.PORTAL_PAGE, f"{NOT_JSON} (HTTP 200, text/html). Does a login page"),
        (odd_networks.BROKEN_JSON, f"{NOT_JSON} (HTTP 200, application/json)."),
        (odd_networks.TEXT_PAGE, f"{NOT_JSON}. Does"),
        (odd_networks.JSON_LIST, f"{NOT_JSON}. Does"),
        (odd_networks.NO_UTF8, NOT_JSON),
        (odd_networks.HANG_UP, "the connection was closed before an answer came. Check"),
        (odd_networks.PROXY_WANTS_LOGIN, "the proxy refuses the login (407). Correct the user"),
    ],
)
async def test_what_answers_is_not_slack(tmp_path: Path, answer: str, words: str) -> None:
    async with odd_networks.answering(answer) as port:
        one = await slack_check(tmp_path, f"http://127.0.0.1:{port}/api/")

    assert words in one.line()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (odd_networks.PROXY_WANTS_LOGIN, "refuses the login (407). Correct the user"),
        (odd_networks.PROXY_FORBIDS, "opens no connection to Slack (403 Forbidden). Allow"),
        (odd_networks.HANG_UP, "no answer: "),
    ],
)
async def test_proxy_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, words: str
) -> None:
    async with odd_networks.answering(answer) as port:
        proxy(monkeypatch, port)
        one = await slack_check(tmp_path, FAR)

    assert words in one.line()
    if answer:
        assert f"the proxy 127.0.0.1:{port} " in one.line()
        assert "HTTPS_PROXY" in one.fix


async def test_proxy_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy(monkeypatch, 9)

    one = await slack_check(tmp_path, FAR)

    assert "the proxy 127.0.0.1:9 cannot be reached: " in one.found
    assert "HTTPS_PROXY" in one.fix


@pytest.mark.parametrize("scheme", ["socks5://", ""])
async def test_proxy_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"{scheme}ada:{PASSWORD}@127.0.0.1:1080")

    one = await slack_check(tmp_path, FAR)

    assert "cannot be used: its address does not begin with http://" in one.found
    assert "HTTP_PROXY" in one.fix


async def test_untrusted_certificate_names_the_setting(tmp_path: Path) -> None:
    context = odd_networks.self_signed(tmp_path)
    async with odd_networks.answering(odd_networks.PORTAL_PAGE, tls=context) as port:
        url = f"https://127.0.0.1:{port}/api/"
        one = await slack_check(tmp_path, url)
        assert "the certificate of 127.0.0.1 is not trusted: self-signed certificate" in one.found
        assert "SSL_CERT_FILE" in one.fix

        plain = await slack_check(tmp_path, url.replace("https", "http"))
        assert "the connection was closed" in plain.found or NOT_JSON in plain.line()


async def test_name_without_an_address(tmp_path: Path) -> None:
    one = await slack_check(tmp_path, "https://slack.invalid/api/")

    assert "slack.invalid has no address here" in one.found


def test_json_stays_json_and_the_password_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    async def check() -> int:
        async with odd_networks.answering(odd_networks.PROXY_WANTS_LOGIN) as port:
            proxy(monkeypatch, port)
            for name, value in slack_only(FAR).items():
                monkeypatch.setenv(name, value)
            return await asyncio.to_thread(run_cli, ["check", "--json"])

    assert asyncio.run(check()) == 1

    said = capfd.readouterr()
    report = json.loads(said.out)
    assert report["ok"] is False
    assert "407" in str(report)
    assert PASSWORD not in said.out + said.err
    assert "Traceback" not in said.err


async def test_check_that_fails_by_itself_is_reported_and_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_given: object) -> Sequence[Check]:
        raise KeyError("getpwuid")

    monkeypatch.setattr("bot.operations.check._check_servers", broken)
    async with odd_networks.answering(odd_networks.PORTAL_PAGE) as port:
        found = await run_checks(
            environ=slack_only(f"http://127.0.0.1:{port}/api/"), folder=tmp_path
        )

    lines = [one.line() for one in found]
    assert any("dokku: the check itself failed: KeyError" in line for line in lines), lines
    assert any(NOT_JSON in line for line in lines), lines


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (odd_networks.PROXY_WANTS_LOGIN, "refuses the login (407)"),
        (odd_networks.PROXY_FORBIDS, "opens no connection to Slack (403 Forbidden)"),
    ],
)
async def test_the_bot_logs_the_cause(
    monkeypatch: pytest.MonkeyPatch, answer: str, words: str
) -> None:
    clock = FirstWait()
    with capture_logs() as logs:
        async with odd_networks.answering(answer) as port:
            proxy(monkeypatch, port)
            async with (
                open_client("xoxb-1", base_url=FAR) as client,
                open_intake(
                    client=client,
                    service=FakeService(client),
                    clock=clock,
                    app_token="xapp-1",
                    first_wait=timedelta(0),
                ) as intake,
            ):
                await clock.waits.wait()
                assert not await intake.is_connected()

    (line,) = [one for one in logs if one["event"] == "slack_unreachable"][:1]
    assert line["step"] == "auth.test"
    assert words in line["why"]
    assert PASSWORD not in str(logs)
