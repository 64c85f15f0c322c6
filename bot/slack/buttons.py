"""The buttons of a live message as data: rendering, listening, docs and tests read these rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.deployments.model import Deployment, Live, Phase, Progress
from bot.deployments.states import ENDINGS, RUNNING

Shows = Callable[[Deployment, Progress], bool]


class Style(StrEnum):
    """Slack's two button colours; a row without one is grey."""

    PRIMARY = "primary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """Slack's own dialog before a click counts.

    `text` may name `{app}`, `{server}`, `{ref}` and `{rollback}` (a short SHA); it is shown
    as plain text, cut to Slack's 300 characters.
    """

    title: str
    text: str
    yes: str
    no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """One button. Its value in Slack is the deployment id."""

    action_id: str
    label: str
    shows: Shows
    """Whether the message has it now. Pure; listeners ask it again when a click comes late."""
    style: Style | None = None
    confirm: Confirm | None = None
    lasting: bool = False
    """It keeps working on messages that no longer show it (Full log, Retry, Roll back)."""


def _shows_log(deployment: Deployment, _progress: Progress) -> bool:
    return deployment.phase in RUNNING or deployment.phase in ENDINGS


def _shows_cancel(deployment: Deployment, _progress: Progress) -> bool:
    """A wish already written makes a second click pointless."""
    if deployment.cancel is not None or deployment.phase is Phase.CANCELLING:
        return False
    return deployment.phase is Phase.QUEUED or deployment.phase in RUNNING


def _shows_retry(deployment: Deployment, _progress: Progress) -> bool:
    return deployment.phase in {Phase.FAILED, Phase.CANCELLED}


def _shows_rollback(deployment: Deployment, _progress: Progress) -> bool:
    """Only to a commit proven live, and never to the one this deployment brought itself."""
    if deployment.rollback_sha is None or deployment.rollback_sha == deployment.sha:
        return False
    if deployment.phase is Phase.SUCCEEDED:
        return True
    return deployment.phase in ENDINGS and deployment.live is not Live.PREVIOUS


FULL_LOG = Button(action_id="deployment_log", label="Full log", shows=_shows_log, lasting=True)
CANCEL = Button(
    action_id="deployment_cancel",
    label="Cancel",
    shows=_shows_cancel,
    style=Style.DANGER,
    confirm=Confirm(
        title="Cancel this deployment?",
        text="The deployment of {app} ({ref}) to {server} will be stopped.",
        yes="Cancel deployment",
        no="Keep it",
    ),
)
RETRY = Button(
    action_id="deployment_retry",
    label="Retry",
    shows=_shows_retry,
    style=Style.PRIMARY,
    lasting=True,
)
ROLLBACK = Button(
    action_id="deployment_rollback",
    label="Roll back",
    shows=_shows_rollback,
    style=Style.DANGER,
    confirm=Confirm(
        title="Roll back?",
        text="{app} on {server} will be deployed at {rollback}, the commit proven live before.",
        yes="Roll back",
        no="Leave it",
    ),
    lasting=True,
)

BUTTONS: Sequence[Button] = (FULL_LOG, CANCEL, RETRY, ROLLBACK)
"""In the order of display."""


def find_button(action_id: str) -> Button | None:
    """The row of an action id; None: not a button of the live message."""
    return next((button for button in BUTTONS if button.action_id == action_id), None)


def buttons_of(deployment: Deployment, progress: Progress) -> Sequence[Button]:
    """The buttons that the message has now, in order."""
    return tuple(button for button in BUTTONS if button.shows(deployment, progress))
