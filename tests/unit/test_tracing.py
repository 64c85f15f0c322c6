"""Traces of ended deployments reach a collector, and no secret with them."""

from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.metrics import DeploymentMetrics, Metrics
from bot.redaction import Redactor
from bot.tracing import Traces, over_http
from tests.contract.store.stories import a_deployment

SECRET = "planted-words-of-a-setting"


def ended(**more: Any) -> Deployment:
    row = a_deployment()
    began = row.created_at
    return replace(
        row,
        phase=Phase.FAILED,
        failure=Failure.BUILD_FAILED,
        live=Live.PREVIOUS,
        started_at=began + timedelta(seconds=5),
        finished_at=began + timedelta(seconds=65),
        **more,
    )


def traced(row: Deployment) -> InMemorySpanExporter:
    kept = InMemorySpanExporter()
    traces = Traces(kept, mask=Redactor([SECRET]).text, release="1.2.3")
    DeploymentMetrics(Metrics(trace=traces.trace), [row.server]).ended(row)
    traces.stop()
    return kept


def test_ended_deployment_is_one_trace_of_what_it_waited_and_ran() -> None:
    waiting, running, whole = traced(ended(ref=SECRET)).get_finished_spans()
    assert [one.name for one in (waiting, running, whole)] == ["waiting", "running", "deployment"]
    lengths = [
        (one.end_time - one.start_time) / 1e9
        for one in (waiting, running, whole)
        if one.end_time is not None and one.start_time is not None
    ]
    assert lengths == [5, 60, 65]
    facts = dict(whole.attributes or {})
    assert facts["deployment.failure"] == "build_failed"
    assert facts["deployment.live"] == "previous"
    assert SECRET not in str(facts)
    assert {one.context.trace_id for one in (waiting, running) if one.context} == {
        whole.context.trace_id if whole.context else None
    }
    assert dict(whole.resource.attributes) == {
        "service.name": "deploybot",
        "service.version": "1.2.3",
    }


def test_deployment_that_never_started_only_waited() -> None:
    row = replace(ended(), started_at=None)
    row = replace(row, finished_at=row.created_at - timedelta(hours=1))
    waiting, whole = traced(row).get_finished_spans()
    for span in (waiting, whole):
        assert span.end_time is not None
        assert span.start_time is not None
        assert span.end_time > span.start_time


def test_trace_reaches_a_collector_with_the_headers_that_are_set() -> None:
    got: list[tuple[str, str | None, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["x-key"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        exporter = over_http(f"http://127.0.0.1:{server.server_port}/", "x-key=abc")
        traces = Traces(exporter, mask=Redactor([SECRET]).text, release="1.2.3")
        traces.trace(ended(ref=SECRET))
        traces.stop()
        server.shutdown()
        serving.join()
    ((path, key, _body),) = got
    assert (path, key) == ("/v1/traces", "abc")
    assert SECRET.encode() not in b"".join(body for _, _, body in got)
