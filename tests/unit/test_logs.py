"""Log lines: one chain for all loggers, no secrets, no noise."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from bot.logs import configure_logging

SECRET = "hunter22"


def mask(text: str) -> str:
    return text.replace(SECRET, "[redacted]").replace("password=opensesame", "password=[redacted]")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root = logging.root
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("apscheduler", "asyncssh")}
    yield
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(level: str = "INFO", *, as_json: bool = True) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(json=as_json, level=level, mask=mask, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_bot_and_library_lines_look_alike() -> None:
    stream = configured()
    structlog.contextvars.bind_contextvars(deployment_id="01K")

    structlog.get_logger().info("deployment_started", app="myapp", tries=2)
    logging.getLogger("aiohttp.server").warning("odd %s", "thing")

    bot_line, library_line = lines(stream)
    assert bot_line["event"] == "deployment_started"
    assert (bot_line["app"], bot_line["tries"], bot_line["level"]) == ("myapp", 2, "info")
    assert library_line["event"] == "odd thing"
    assert (library_line["logger"], library_line["level"]) == ("aiohttp.server", "warning")
    assert bot_line["deployment_id"] == library_line["deployment_id"] == "01K"
    assert bot_line["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_no_terminal_obeys_a_log_line(*, as_json: bool) -> None:
    stream = configured(as_json=as_json)
    structlog.get_logger().info("odd\x1b[2Jevent", why=f"{SECRET}\x1b]0;title\x07")
    logging.getLogger("other").warning("odd \x1b[2J thing")
    assert "\x1b" not in stream.getvalue()
    assert SECRET not in stream.getvalue()
    assert "title" in stream.getvalue()


def test_extra_fields_of_a_stdlib_record_are_kept() -> None:
    stream = configured()

    logging.getLogger("bot.x").warning("look_failed", extra={"why": f"it was {SECRET}"})

    assert lines(stream)[0]["why"] == "it was [redacted]"


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_masked_in_every_field(as_json: bool) -> None:
    stream = configured(as_json=as_json)
    log = structlog.get_logger()

    log.info(
        "event %s", SECRET, text=SECRET, deep=[{"a": SECRET}, (SECRET,)], odd=ValueError(SECRET)
    )
    log.info("raw", raw=SECRET.encode(), password="opensesame")
    logging.getLogger("lib").error("said %s", SECRET)
    try:
        int(SECRET)
    except ValueError:
        log.exception("failed")
        logging.getLogger("lib").exception("failed too")

    text = stream.getvalue()
    assert SECRET not in text
    assert "opensesame" not in text
    assert text.count("[redacted]") >= 8
    assert "Traceback" in text


def test_level_applies_to_bot_and_libraries() -> None:
    stream = configured("WARNING")

    structlog.get_logger().info("quiet")
    logging.getLogger("lib").info("quiet")
    structlog.get_logger().warning("loud")

    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("name", ["apscheduler.executors.default", "asyncssh", "aiohttp.access"])
def test_chatty_libraries_are_quiet(name: str) -> None:
    stream = configured("DEBUG")

    logging.getLogger(name).info("a line for each poll")
    logging.getLogger(name).warning("something")

    assert [line["event"] for line in lines(stream)] == ["something"]


def test_refused_slack_request_is_not_logged_whole() -> None:
    stream = configured()
    # Bolt sets levels of its loggers when an app is made: here no other test's app counts.
    logger = logging.getLogger("slack_bolt.AsyncRequestVerification")
    logger.setLevel(logging.INFO)
    logger.disabled = False

    logger.info(
        "Invalid request signature detected (signature: v0=1, timestamp: 1, body: text=private)"
    )

    assert [line["event"] for line in lines(stream)] == ["slack_signature_refused"]
    assert "private" not in stream.getvalue()


def test_configuring_again_leaves_one_handler() -> None:
    configured()
    stream = configured()

    logging.getLogger("lib").warning("once")

    assert len(lines(stream)) == 1
