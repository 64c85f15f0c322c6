"""The modal in which an approver rejects a deployment. Pure."""

from bot.deployments.model import Deployment
from bot.deployments.requests.approvals import LONGEST_REASON
from bot.slack.render import blocks as kit
from bot.slack.render import words
from bot.slack.render.blocks import Json

REJECT = "reject_form"
"""The view's callback id."""
REASON_BLOCK = "reason"
VALUE = "value"


def reject_form(deployment: Deployment, *, metadata: str, name_server: bool = True) -> Json:
    """The modal, with what is rejected. Slack keeps `metadata` (private_metadata)."""
    typed: Json = {
        "type": "plain_text_input",
        "action_id": VALUE,
        "max_length": LONGEST_REASON,
        "placeholder": kit.plain("Shown in the deployment's message"),
    }
    reason: Json = {
        "type": "input",
        "block_id": REASON_BLOCK,
        "label": kit.plain("Reason"),
        "element": typed,
        "optional": True,
    }
    return {
        "type": "modal",
        "callback_id": REJECT,
        "title": kit.plain("Reject a deployment"),
        "close": kit.plain("Close"),
        "submit": kit.plain("Reject"),
        "private_metadata": metadata,
        "blocks": [kit.section(_what(deployment, name_server=name_server)), reason],
    }


def _what(deployment: Deployment, *, name_server: bool) -> str:
    """The deployment, its commit and its requester: a channel may have several that wait."""
    line = words.headline(deployment, name_server=name_server)
    commit = "" if deployment.sha is None else f" · {words.commit_words(deployment, None)}"
    return f"{line}{commit} · requested by {words.requester_words(deployment)}"
