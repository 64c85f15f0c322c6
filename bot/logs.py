"""Log lines, JSON or console: the bot's and the libraries' in one chain, secrets masked last."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import structlog
from structlog.types import EventDict, Processor

from bot.redaction_escapes import visible

Mask = Callable[[str], str]
"""Returns a text without its secrets."""

QUIET = ("alembic", "apscheduler", "asyncssh", "aiohttp.access")
"""Loggers that write lines for each poll, command, health check or migration."""

_BAD_SIGNATURE = "Invalid request signature detected"
_SHARED: tuple[Processor, ...] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
)


def configure_logging(
    *,
    json: bool,
    level: str,
    mask: Mask,
    stream: TextIO | None = None,
    report: Processor | None = None,
) -> None:
    """Send every log line of this process to one stream. May be called more than once.

    Args:
        json: One JSON object a line; else text for people.
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        mask: Applied to every text of every line, tracebacks included.
        stream: Default: stderr.
        report: Sees every line before it is masked, and masks what it sends elsewhere.
    """
    out = stream or sys.stderr
    # Foreign text must not control a terminal. JSON escapes it anyway.
    shown = mask if json else (lambda text: visible(mask(text)))
    head: tuple[Processor, ...] = (
        structlog.contextvars.merge_contextvars,
        *([report] if report else []),
        *_SHARED,
    )
    tail: tuple[Processor, ...] = (masking(shown), _renderer(json=json, out=out))
    structlog.configure(
        processors=[*head, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(_without_body)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                *head,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
            keep_exc_info=False,
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _renderer(*, json: bool, out: TextIO) -> Processor:
    if json:
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    # Rich's tracebacks would show local variables, and those hold keys and tokens.
    return structlog.dev.ConsoleRenderer(
        colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def masking(mask: Mask) -> Processor:
    """Mask every text of a log line, or of another mapping, however deep."""

    def clean(value: object) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return mask(value)
            case Mapping():
                return {str(key): named(str(key), below) for key, below in value.items()}
            case bytes() | bytearray():
                return mask(repr(value))
            case Sequence() | set() | frozenset():
                return [clean(item) for item in value]
            case _:
                return mask(str(value))

    def named(key: str, value: object) -> object:
        if not isinstance(value, str):
            return clean(value)
        # The field's name counts too: password=... is masked as in a line of text.
        before = f"{key}="
        together = mask(before + value)
        return mask(together.removeprefix(before))

    def processor(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {key: named(key, value) for key, value in event.items()}

    return processor


def _without_body(record: logging.LogRecord) -> bool:
    """Keep only the fact: Bolt logs the whole request if its signature is wrong."""
    if str(record.msg).startswith(_BAD_SIGNATURE):
        record.msg, record.args = "slack_signature_refused", ()
    return True
