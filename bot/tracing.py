"""Sends a trace of each deployment when it ends, by OpenTelemetry; loaded only with its setting."""

from collections.abc import Callable
from datetime import datetime, timedelta

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context
from opentelemetry.util.re import parse_env_headers

from bot.deployments.model import Deployment, Phase
from bot.deployments.states import status_of

SHORTEST = timedelta(microseconds=1)
EXPORT_S = 10.0
"""The limit of one attempt to send; a background thread waits, not the bot."""


class Traces:
    """One trace a deployment: the whole of it, its waiting and its running."""

    def __init__(self, exporter: SpanExporter, *, mask: Callable[[str], str], release: str) -> None:
        resource = Resource({"service.name": "deploybot", "service.version": release})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("deploybot")
        self._mask = mask

    def trace(self, deployment: Deployment) -> None:
        """Note the trace of an ended deployment; a thread sends it later."""
        began, ended = deployment.created_at, deployment.finished_at
        if ended is None:
            return
        whole = self._tracer.start_span("deployment", start_time=_ns(began))
        for name, value in _facts(deployment).items():
            whole.set_attribute(f"deployment.{name}", self._mask(value))
        if deployment.phase is Phase.FAILED:
            whole.set_status(Status(StatusCode.ERROR, str(deployment.failure)))
        inside = set_span_in_context(whole)
        started = deployment.started_at
        waiting = self._tracer.start_span("waiting", inside, start_time=_ns(began))
        _end(waiting, started or ended, began)
        if started is not None:
            running = self._tracer.start_span("running", inside, start_time=_ns(started))
            _end(running, ended, started)
        _end(whole, ended, began)

    def stop(self) -> None:
        """Send what waits, and nothing more."""
        self._provider.shutdown()


def over_http(endpoint: str, headers: str) -> SpanExporter:
    """To a collector: its base address, and headers as in `OTEL_EXPORTER_OTLP_HEADERS`."""
    return OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces",
        headers=parse_env_headers(headers, liberal=True),
        timeout=EXPORT_S,
    )


def _facts(deployment: Deployment) -> dict[str, str]:
    facts = {
        "id": deployment.id,
        "app": deployment.app,
        "server": deployment.server,
        "ref": deployment.ref,
        "commit": deployment.sha,
        "trigger": deployment.trigger,
        "status": status_of(deployment.phase),
        "failure": deployment.failure,
        "live": deployment.live,
        "attempt": deployment.attempt,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _end(span: Span, at: datetime, began: datetime) -> None:
    """End it; a clock that was set back makes no span end before it began."""
    span.end(end_time=_ns(max(at, began + SHORTEST)))


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000
