"""Drawing buttons. Which ones exist is data: `listeners/message_buttons.py`, `log_window.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bot.deployments.model import Deployment, Progress
from bot.slack.render import blocks as kit
from bot.slack.render.blocks import Json
from bot.slack.render.text import cut, one_line, short_sha

LONGEST_CONFIRM_TEXT = 300
"""Characters. Source: Slack's Block Kit reference, confirmation dialog."""


class Style(StrEnum):
    """Slack's two button colours; a button without a style is grey."""

    PRIMARY = "primary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """Slack's dialog before a click counts.

    `text` may contain `{app}`, `{server}`, `{ref}` and `{rollback}` (a short SHA). It is shown as
    plain text, cut to Slack's 300 characters.
    """

    title: str
    text: str
    yes: str
    no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What decides whether a button is shown."""

    deployment: Deployment
    progress: Progress = field(default_factory=Progress)
    has_older: bool = False
    """Of a log window: there are pages before the one that it shows."""
    has_newer: bool = False
    has_error: bool = False
    """A line of the log mentions an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """How a button looks, and when it is shown. Its value in Slack is the deployment id."""

    action_id: str
    label: str
    shows: Callable[[Situation], bool]
    """Whether it is shown. Pure; asked again when a click arrives."""
    style: Style | None = None
    confirm: Confirm | None = None


def button_row(buttons: Sequence[Button], situation: Situation) -> list[Json]:
    """The block with the buttons to show, in order; no block when there are none."""
    shown = [_draw(one, situation.deployment) for one in buttons if one.shows(situation)]
    return [kit.actions(shown)] if shown else []


def _draw(button: Button, deployment: Deployment) -> Json:
    element = kit.button(action_id=button.action_id, label=button.label, value=deployment.id)
    if button.style is not None:
        element["style"] = button.style.value
    if button.confirm is not None:
        element["confirm"] = _draw_confirm(button.confirm, deployment)
    return element


def _draw_confirm(confirm: Confirm, deployment: Deployment) -> Json:
    text = confirm.text.format(
        app=cut(one_line(deployment.app), 60),
        server=cut(one_line(deployment.server), 40),
        ref=cut(one_line(deployment.ref), 60),
        rollback=short_sha(deployment.rollback_sha or ""),
    )
    return {
        "title": kit.plain(confirm.title),
        # Slack counts code points, `cut` counts columns: combining characters take no column.
        "text": kit.plain(cut(text, 290)[:LONGEST_CONFIRM_TEXT]),
        "confirm": kit.plain(confirm.yes),
        "deny": kit.plain(confirm.no),
    }
