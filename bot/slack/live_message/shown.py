"""What is known of one live message: where it stands, what it shows, what it still owes."""

from dataclasses import dataclass
from datetime import timedelta

from bot.deployments.model import Deployment, MessagePlace, Phase, Progress
from bot.deployments.ports import Urgency
from bot.deployments.states import ENDINGS
from bot.slack.render.deployment import Rendered

RETRY_MOST = timedelta(seconds=60)


@dataclass(slots=True, kw_only=True)
class Shown:
    """What is known of one message."""

    place: MessagePlace
    stored: bool = True
    """The store knows the place."""
    hash: str | None = None
    """None: what it shows is not known."""
    phase: Phase | None = None
    lines: bool = False
    """It was rendered with lines of the log at hand."""
    changed_at: float | None = None
    """Since when a phase or an end is known that it does not show."""
    gone: bool = False
    """It was deleted twice, or may not be edited: it is left alone."""
    bare: bool = False
    """Slack found it too large: without log lines from now on."""
    failures: int = 0

    def note(self, deployment: Deployment, rendered: Rendered, *, lines: bool) -> None:
        """It shows this now."""
        self.hash = rendered.shown_hash
        self.phase = deployment.phase
        self.lines = lines
        self.failures = 0


def backoff(tries: int) -> timedelta:
    """Before the next try, after so many failed ones."""
    return min(RETRY_MOST, timedelta(seconds=2.0 ** min(tries - 1, 10)))


def urgency_of(
    shown: Shown | None, deployment: Deployment, progress: Progress, given: Urgency
) -> Urgency:
    """Ends, new phases and first log lines are urgent, whatever the caller thought."""
    if deployment.phase in ENDINGS:
        return Urgency.NOW
    if shown is None or (shown.phase is deployment.phase and (shown.lines or not progress.tail)):
        return given
    return min(given, Urgency.PHASE)
