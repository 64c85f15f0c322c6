"""The buttons of a live message, one row each. To add one, add a row and the function it calls."""

from collections.abc import Sequence

from bot.deployments.model import Deployment, Live, Phase
from bot.deployments.states import ENDINGS, RUNNING
from bot.slack.listeners.again import cancel_deployment, deploy_again
from bot.slack.listeners.approvals import approve_clicked, open_reject_form
from bot.slack.listeners.clicks import ActionButton, Click, Permission
from bot.slack.listeners.details import show_deployment
from bot.slack.listeners.locks import follow
from bot.slack.listeners.log_window import open_log
from bot.slack.listeners.questions import ask_server_cancel
from bot.slack.render.blocks import Confirm, Situation, Style
from bot.slack.render.deployment import ROLL_BACK
from bot.slack.render.locks import FOLLOW_LABEL
from bot.slack.render.proof import DETAILS
from bot.slack.render.words import SERVER_CANCEL_LABEL, left_build


async def _open_log(click: Click) -> None:
    # The modal first, the look-ups after: its trigger is good for 3 seconds.
    await open_log(click.desk, trigger_id=click.trigger_id or "", deployment_id=click.deployment_id)


async def _cancel(click: Click) -> None:
    await cancel_deployment(click, await click.deployment())


async def _ask_server_cancel(click: Click) -> None:
    await ask_server_cancel(click, click.deployment_id, click.fixed)


async def _retry(click: Click) -> None:
    await deploy_again(click, await click.deployment(), back=False)


async def _roll_back(click: Click) -> None:
    # The commit that the dialog named. Messages of older releases carry none.
    await deploy_again(click, await click.deployment(), back=True, sha=click.fixed)


async def _follow(click: Click) -> None:
    deployment = await click.deployment()
    await follow(click, deployment.target, deployment.app)


def _waits(now: Situation) -> bool:
    return now.deployment.phase is Phase.QUEUED and now.deployment.cancel is None


def _awaits_decision(now: Situation) -> bool:
    return now.deployment.phase is Phase.AWAITING_APPROVAL and now.deployment.cancel is None


def _can_be_approved(now: Situation) -> bool:
    """Once it is known what: before that it can only be rejected."""
    return now.deployment.ready and _awaits_decision(now)


def _has_log(now: Situation) -> bool:
    return now.deployment.phase in RUNNING or now.deployment.phase in ENDINGS


def _has_ended(now: Situation) -> bool:
    return now.deployment.phase in ENDINGS


def _can_cancel(now: Situation) -> bool:
    """Until nothing is left to cancel, or it was requested: a second request changes nothing."""
    if now.deployment.cancel is not None:
        return False
    if now.deployment.phase in {Phase.CANCELLING, Phase.CHECKING}:
        return False
    return now.deployment.phase is Phase.QUEUED or now.deployment.phase in RUNNING


def _did_not_succeed(now: Situation) -> bool:
    return now.deployment.phase in {Phase.FAILED, Phase.CANCELLED}


def _can_roll_back(now: Situation) -> bool:
    """Only to a commit proven live, and never to the one that this deployment released."""
    one = now.deployment
    proven = one.rollback_sha is not None and one.rollback_sha != one.sha
    return proven and _has_changed(one)


def _can_roll_back_unverified(now: Situation) -> bool:
    """Where this bot has proven nothing older, but Dokku's own record names a commit."""
    one = now.deployment
    return one.rollback_sha is None and one.unverified_sha is not None and _has_changed(one)


def _has_changed(one: Deployment) -> bool:
    """Whether it may have changed what is live."""
    return one.phase in ENDINGS and (one.phase is Phase.SUCCEEDED or one.live is not Live.PREVIOUS)


def _leaves_worse(now: Situation) -> bool:
    """It did not succeed, and what serves now is not what served before."""
    worse = now.deployment.live in {Live.NEW, Live.MIXED, Live.NONE}
    return _did_not_succeed(now) and worse


MESSAGE_BUTTONS: Sequence[ActionButton] = (
    ActionButton(
        action_id="deployment_approve",
        label="Approve",
        shows=_can_be_approved,
        style=Style.PRIMARY,
        fixes=lambda now: now.deployment.sha,
        permission=Permission.APPROVER,
        call=approve_clicked,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="deployment_reject",
        label="Reject",
        shows=_awaits_decision,
        style=Style.DANGER,
        permission=Permission.APPROVER,
        call=open_reject_form,
    ),
    ActionButton(
        action_id="deployment_retry",
        label="Retry",
        shows=_did_not_succeed,
        style=Style.PRIMARY,
        permission=Permission.DEPLOYER,
        call=_retry,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="deployment_log",
        label="Full log",
        shows=_has_log,
        permission=Permission.MEMBER,
        call=_open_log,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="deployment_cancel",
        label="Cancel",
        shows=_can_cancel,
        style=Style.DANGER,
        confirm=Confirm(
            title="Cancel this deployment?",
            text="This stops deploying {app} ({ref}){to_server}.",
            yes="Cancel deployment",
            no="Keep it",
        ),
        permission=Permission.CANCELLER,
        call=_cancel,
    ),
    ActionButton(
        action_id="deployment_server_cancel",
        label=SERVER_CANCEL_LABEL,
        shows=lambda now: left_build(now.deployment, now.progress) is not None,
        fixes=lambda now: left_build(now.deployment, now.progress),
        style=Style.DANGER,
        permission=Permission.SERVER_CANCELLER,
        call=_ask_server_cancel,
        asks="Cancel Dokku build …?",
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="deployment_follow",
        label=FOLLOW_LABEL,
        shows=_waits,
        permission=Permission.MEMBER,
        call=_follow,
    ),
    ActionButton(
        action_id="deployment_rollback",
        label=ROLL_BACK,
        shows=_can_roll_back,
        leads=_leaves_worse,
        fixes=lambda now: now.deployment.rollback_sha,
        style=Style.DANGER,
        confirm=Confirm(
            title="Roll back?",
            text=(
                "This takes {app}{on_server} from {live} back to {rollback}, the commit that was "
                "live before{back}. It is built again."
            ),
            yes="Roll back",
            no="Leave it",
        ),
        permission=Permission.DEPLOYER,
        call=_roll_back,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="deployment_rollback_unverified",
        label=ROLL_BACK,
        shows=_can_roll_back_unverified,
        leads=_leaves_worse,
        fixes=lambda now: now.deployment.unverified_sha,
        style=Style.DANGER,
        confirm=Confirm(
            title="Roll back, not verified?",
            text=(
                "This takes {app}{on_server} from {live} back to {unverified}, the commit that "
                "Dokku's own record named before. It is not verified by deploybot: it may never "
                "have been live. It is built again."
            ),
            yes="Roll back",
            no="Leave it",
        ),
        permission=Permission.DEPLOYER,
        call=_roll_back,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id="deployment_details",
        label=DETAILS,
        shows=_has_ended,
        permission=Permission.MEMBER,
        call=show_deployment,
        works_when_hidden=True,
    ),
)
"""In the order in which the message shows them, after those that lead."""
