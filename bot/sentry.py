"""Sends the bot's own errors to Sentry, masked as its log is; loaded only with `SENTRY_DSN`."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import BadDsn, event_from_exception
from structlog.types import EventDict, Processor

from bot.errors import ConfigError
from bot.logs import Mask, masking

ERRORS = frozenset({"error", "exception", "critical"})
SENT = frozenset(
    {"event_id", "timestamp", "level", "logger", "message", "platform", "release", "server_name"}
    | {"exception", "extra", "sdk"}
)
"""All that leaves of an event."""
OWN_LOGGERS = ("sentry_sdk", "urllib3")
"""What these say of an event that could not be sent must not become another event."""
_NOT_SENT = frozenset({"event", "exc_info", "logger", "level", "timestamp", "stack_info"})
FLUSH_S = 2.0

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def start(
    dsn: str,
    *,
    mask: Mask,
    release: str,
    source: str = "environment",
    transport: Transport | None = None,
) -> Processor:
    """Send errors from now on; the processor that log lines have to pass.

    Nothing but errors is sent: no variables, requests, breadcrumbs, traces or host names.
    Raises ConfigError if the address is not a DSN; the message does not show the address.
    """
    clean = masking(mask)

    def before_send(event: Event, _hint: Hint) -> Event:
        kept = {key: value for key, value in event.items() if key in SENT}
        masked: Any = clean(None, "", kept)
        found: Event = masked
        return found

    try:
        sentry_sdk.init(
            dsn=dsn,
            release=release,
            server_name="deploybot",
            before_send=before_send,
            transport=transport,
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            include_local_variables=False,
            send_client_reports=False,
            max_breadcrumbs=0,
        )
    except BadDsn:
        raise ConfigError(
            "SENTRY_DSN",
            source,
            "not an address of Sentry",
            "Copy the DSN of the project's settings in Sentry, or unset it.",
        ) from None
    return report


def stop() -> None:
    """Send what waits, for at most two seconds, and nothing more."""
    sentry_sdk.get_client().close(timeout=FLUSH_S)


def report(_logger: object, method: str, line: EventDict) -> EventDict:
    """Send a log line that says an error. The line stays as it is."""
    if method in ERRORS and not str(line.get("logger", "")).startswith(OWN_LOGGERS):
        _send(line)
    return line


def _send(line: Mapping[str, Any]) -> None:
    error = _exc_info(line.get("exc_info"))
    event: Event = {}
    hint: Hint | None = None
    if error is not None:
        event, hint = event_from_exception(
            error, client_options=sentry_sdk.get_client().options, mechanism=None
        )
    event["level"] = "error"
    event["logger"] = str(line.get("logger", "deploybot"))
    event["message"] = str(line.get("event", ""))
    event["extra"] = {
        key: str(value)
        for key, value in line.items()
        if key not in _NOT_SENT and not key.startswith("_")
    }
    sentry_sdk.capture_event(event, hint)


def _exc_info(given: object) -> ExcInfo | None:
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    kind, error, trace = given if isinstance(given, tuple) else sys.exc_info()
    if not given or kind is None or error is None:
        return None
    return kind, error, trace
