"""Handle a click on any button. A button is one `ActionButton` row; nothing here names one.

The rows are in `message_buttons.MESSAGE_BUTTONS` (the live message) and `log_window.LOG_BUTTONS`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from bot.deployments.model import Deployment, Phase, Trigger
from bot.deployments.requests.service import TOO_LATE
from bot.deployments.states import ENDINGS
from bot.errors import Declined
from bot.slack.listeners.desk import Call, Desk
from bot.slack.listeners.payloads import Body, asker_of, delivery_key, first_action, part, word
from bot.slack.render.blocks import Button, Situation, read_value

UNKNOWN_DEPLOYMENT = "That deployment is no longer on record."


class Permission(StrEnum):
    """Who may use a button, in the words of docs/commands.md."""

    MEMBER = "members of the workspace"
    """Checked by `on_click`, for every button."""
    DEPLOYER = "deployers of the app"
    """Checked by the method of `Service` that the button's function calls."""
    CANCELLER = "the requester; approvers of the app, or its deployers where it has no approvers"
    """Checked by `Service.check_cancel`."""
    SERVER_CANCELLER = "approvers of the app, or its deployers where it has no approvers"
    """Checked by `ServerCancels`."""
    APPROVER = "approvers of the app; the requester where `approval` is `confirm`"
    """Checked by `Approvals`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Click(Call):
    """One click on a button."""

    deployment_id: str
    fixed: str | None = None
    """What the button fixed when it was shown, such as the commit of a rollback."""
    question_key: str | None = None
    """The request that asked the question which this click answers."""
    view: Body
    """The modal that the button is in; empty for a message."""

    async def deployment(self) -> Deployment:
        """The newest row of the button's deployment. Declined: there is none."""
        deployment = await self.desk.queries.store.get(self.deployment_id)
        if deployment is None:
            raise Declined(UNKNOWN_DEPLOYMENT)
        return self.desk.queries.snapshot(deployment)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionButton(Button):
    """One button: how it looks, when it is shown, who may use it, and what it calls."""

    permission: Permission
    """Shown on the docs page, guards nothing: the `Service` method that is called is the guard."""
    call: Callable[[Click], Awaitable[None]]
    asks: str = ""
    """What it asks first, where no dialog does."""
    works_when_hidden: bool = False
    """An old message may still show it, and a click on it then works as before."""


def on_click(button: ActionButton) -> Callable[[Desk, Body], Awaitable[None]]:
    """The listener for one button: check the workspace and whether it still applies, then call."""

    async def listener(desk: Desk, body: Body) -> None:
        asker = await desk.admit(asker_of(body))
        subject, key, fixed = read_value(word(first_action(body), "value"))
        click = Click(
            desk=desk,
            asker=asker,
            answers=desk.answers(asker),
            trigger=Trigger.BUTTON,
            request_key=delivery_key(body),
            trigger_id=word(body, "trigger_id"),
            deployment_id=subject,
            question_key=key,
            fixed=fixed,
            view=part(body, "view"),
        )
        if not button.works_when_hidden:
            await _refuse_if_outdated(click, button)
        await button.call(click)

    listener.__name__ = button.action_id
    return listener


async def _refuse_if_outdated(click: Click, button: ActionButton) -> None:
    """Declined: the deployment has moved on, and its message no longer shows the button."""
    deployment, progress = click.desk.queries.snapshot(await click.deployment())
    if button.shows(Situation(deployment=deployment, progress=progress)):
        return
    if deployment.phase not in ENDINGS and deployment.cancel is not None:
        raise Declined("This deployment is already being cancelled.")
    if deployment.phase is Phase.CHECKING:
        raise Declined(TOO_LATE)
    how = "ended" if deployment.phase in ENDINGS else "started"
    raise Declined(
        f"*{button.label}* no longer applies: this deployment has already {how} "
        f"({deployment.phase})."
    )
