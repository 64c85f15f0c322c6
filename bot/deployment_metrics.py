"""What happens to deployments, counted for Prometheus."""

from collections.abc import Iterable

from bot.deployments.model import Deployment, Phase
from bot.deployments.ports import Observer
from bot.deployments.states import RUNNING, status_of
from bot.metrics import Metrics


class MeteredObserver(Observer):
    """Counts; decides nothing."""

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
