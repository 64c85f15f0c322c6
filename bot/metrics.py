"""The Prometheus metrics. A label never holds users, commits or ids."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from platform import python_version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from bot.deployments.model import Deployment, Phase
from bot.deployments.observer import Observer
from bot.deployments.states import RUNNING, status_of
from bot.release import release

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Described:
    """One metric as the operations page shows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """All metrics of one bot, in its own registry (tests make several bots in one process)."""

    def __init__(self, *, trace: Callable[[Deployment], None] | None = None) -> None:
        """`trace`: called with each ended deployment, to send it to a collector of traces."""
        self.trace = trace
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._described: list[Described] = []
        self.deployments = self._counter(
            "deployments_total", "Ended deployments.", "server", "status", "failure"
        )
        self.active = self._gauge("deployments_active", "Running deployments.", "server")
        self.queue_length = self._gauge("queue_length", "Queued deployments.", "server")
        self.deployment_seconds = self._histogram(
            "deployment_seconds", "Time from the start of a deployment to its end.", _LONG
        )
        self.deployment_duration = self._histogram(
            "deployment_duration_seconds", "The same by result.", _LONG, "server", "status"
        )
        self.poll_seconds = self._histogram(
            "poll_seconds", "Duration of one poll of a running deployment.", _FAST
        )
        self.poll_errors = self._counter("poll_errors_total", "Failed polls.")
        self.poll_lateness = self._histogram(
            "poll_lateness_seconds", "How late a poll began.", _FAST
        )
        self.slack_calls = self._counter(
            "slack_calls_total", "Calls to Slack's Web API.", "method", "outcome"
        )
        self.slack_edit_lag = self._histogram(
            "slack_edit_lag_seconds", "Time from a change to the message edit that shows it.", _FAST
        )
        self.ack = self._histogram(
            "ack_seconds", "Time from Slack's request to the bot's answer.", _FAST
        )
        self.webhook_deliveries = self._counter(
            "webhook_deliveries_total", "Webhook delivery attempts.", "outcome"
        )
        self.ssh_connections = self._gauge("ssh_connections", "Open SSH connections.", "server")
        self.server_up = self._gauge(
            "server_up", "Whether the last question to a server was answered.", "server"
        )
        self.slack_connected = self._gauge(
            "slack_connected", "Whether requests of Slack can arrive."
        )
        self.outbox_age = self._gauge(
            "outbox_age_seconds",
            "Age of the oldest undelivered webhook or reply in Slack; 0: none.",
            "receiver",
        )
        build = self._gauge(
            "build_info", "Always 1; its labels say what runs.", "version", "python"
        )
        build.labels(release(), python_version()).set(1)

    def connected(self, server: str, count: int) -> None:
        """How many SSH connections to a server are open now."""
        self.ssh_connections.labels(server).set(count)

    def called_slack(self, method: str, outcome: str) -> None:
        """A call of Slack's Web API ended."""
        self.slack_calls.labels(method, outcome).inc()

    def delivered(self, outcome: str) -> None:
        """An attempt to deliver a webhook ended."""
        self.webhook_deliveries.labels(outcome).inc()

    def edited(self, lag: timedelta) -> None:
        """A message was edited; `lag` is how long after the change."""
        self.slack_edit_lag.observe(lag.total_seconds())

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def described(self) -> Iterator[Described]:
        """Every metric of the bot, in the order of the page."""
        return iter(self._described)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        full = self._describe(name, "counter", labels, meaning)
        return Counter(full, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        full = self._describe(name, "gauge", labels, meaning)
        return Gauge(full, meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        full = self._describe(name, "histogram", labels, meaning)
        return Histogram(full, meaning, labels, buckets=buckets, registry=self.registry)

    def _describe(self, name: str, kind: str, labels: tuple[str, ...], meaning: str) -> str:
        full = f"deploybot_{name}"
        self._described.append(Described(full, kind, labels, meaning))
        return full


class DeploymentMetrics(Observer):
    """Counts what happens to deployments; decides nothing."""

    def __init__(self, metrics: Metrics, servers: Iterable[str]) -> None:
        self._metrics = metrics
        self._servers = tuple(servers)

    def ended(self, deployment: Deployment) -> None:
        status = status_of(deployment.phase)
        failure = deployment.failure or ""
        self._metrics.deployments.labels(deployment.server, status, failure).inc()
        if deployment.started_at and deployment.finished_at:
            took = deployment.finished_at - deployment.started_at
            self._metrics.deployment_seconds.observe(took.total_seconds())
            by_result = self._metrics.deployment_duration.labels(deployment.server, status)
            by_result.observe(took.total_seconds())
        if self._metrics.trace is not None:
            self._metrics.trace(deployment)

    def polled(self, took_s: float) -> None:
        self._metrics.poll_seconds.observe(took_s)

    def poll_failed(self) -> None:
        self._metrics.poll_errors.inc()

    def counted(self, unfinished: Iterable[Deployment]) -> None:
        rows = list(unfinished)
        for server in self._servers:
            here = [row for row in rows if row.server == server]
            self._metrics.active.labels(server).set(sum(row.phase in RUNNING for row in here))
            self._metrics.queue_length.labels(server).set(
                sum(row.phase is Phase.QUEUED for row in here)
            )
