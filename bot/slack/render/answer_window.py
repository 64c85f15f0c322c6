"""An answer in a window, for a person whom no message reaches. Pure."""

from bot.slack.render import blocks as kit
from bot.slack.render.blocks import Answer, Json

ANSWER = "answer_window"
"""The view's callback id."""


def answer_window(answer: Answer, *, metadata: str) -> Json:
    """The modal. Slack keeps `metadata` (private_metadata): buttons in it act where it says."""
    return {
        "type": "modal",
        "callback_id": ANSWER,
        "title": kit.plain("Answer"),
        "close": kit.plain("Close"),
        "private_metadata": metadata,
        "blocks": list(answer.blocks) or [kit.section(answer.text)],
    }
