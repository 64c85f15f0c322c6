"""Errors go to Sentry, and no secret with them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from bot import sentry
from bot.errors import ConfigError
from bot.logs import configure_logging
from bot.redaction import Redactor

SECRET = "xoxb-123456789-planted"
DSN = "https://public@sentry.example.com/1"


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.sent: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize().decode())


@pytest.fixture
def kept() -> Iterator[Kept]:
    root = logging.root
    handlers, level = root.handlers[:], root.level
    transport = Kept()
    mask = Redactor([SECRET]).text
    report = sentry.start(DSN, mask=mask, release="1.2.3", transport=transport)
    configure_logging(json=True, level="INFO", mask=mask, stream=io.StringIO(), report=report)
    yield transport
    sentry.stop()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def fail() -> None:
    local = SECRET * 2
    raise ValueError(f"no access with {SECRET}, {len(local)}")


def test_errors_are_sent_masked_and_nothing_else_is(kept: Kept) -> None:
    log = structlog.get_logger("bot")
    log.info("deployment_ended", token=SECRET)
    log.warning("slack_unreachable", why=SECRET)
    assert kept.sent == []
    try:
        fail()
    except ValueError:
        log.exception("listener_failed", deployment_id="01D", password=SECRET)
        logging.getLogger("aiohttp.server").exception("Error with %s", SECRET)
    logging.getLogger("sentry_sdk.errors").error("could not send")
    assert len(kept.sent) == 2
    assert SECRET not in "".join(kept.sent)
    event = json.loads(kept.sent[0].splitlines()[-1])
    assert event["message"] == "listener_failed"
    assert event["extra"]["deployment_id"] == "01D"
    assert event["release"] == "1.2.3"
    (error,) = event["exception"]["values"]
    assert error["type"] == "ValueError"
    assert error["value"].startswith("no access with ")
    assert "vars" not in str(error["stacktrace"])
    assert not {"breadcrumbs", "request", "user", "modules", "contexts"} & event.keys()


def test_address_that_is_no_dsn_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        sentry.start("https://sentry.example.com/planted", mask=str, release="1")
    assert "planted" not in str(refused.value)
