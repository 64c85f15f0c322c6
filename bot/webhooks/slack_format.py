"""Make an event a message for a Slack incoming webhook (`format = "slack"`). Pure.

Texts of users and logs go into rich_text elements, which Slack does not parse. Only the fallback
`text` is markup, so there they are escaped and each `@` is broken.
"""

from collections.abc import Mapping
from typing import Any

from bot.deployments.model import Live, Status
from bot.deployments.verdict.wording import LIVE_SENTENCES, STATUS_ICONS, beside_facts
from bot.outbox import CORRECTED

LONGEST_NAME, LONGEST_REASON = 255, 2_000
"""Characters that are shown."""
LONGEST_FALLBACK = 590
"""Of the text for notifications, before it is escaped: five times as long it still fits."""
_LOOKALIKES = str.maketrans({"*": "\u2217", "`": "\u02cb", "~": "\u223c"})
HEADLINES = {
    Status.PENDING: "Pending:",
    Status.RUNNING: "Deploying",
    Status.SUCCEEDED: "Deployed",
    Status.FAILED: "Failed to deploy",
    Status.CANCELLED: "Cancelled",
}


def slack_message(body: Mapping[str, Any], *, name_server: bool = True) -> dict[str, object]:
    """Make `{text, blocks}` from a standard body. `name_server`: there are several."""
    data: Mapping[str, Any] = body["data"]
    app, ref, server = (_one_line(data[key]) for key in ("app", "ref", "server"))
    status = Status(data["status"])
    corrected = "Corrected: " if body["type"] == CORRECTED else ""
    lead = f"{STATUS_ICONS[status]} {corrected}{HEADLINES[status]} "
    commit = f" ({data['sha'][:7]})" if data["sha"] else ""
    ending = f" to {server}" if name_server else ""
    ending += _duration(data["duration_s"])
    sentences = " ".join(_sentences(data))
    headline: list[dict[str, object]] = [
        {"type": "text", "text": lead},
        {"type": "text", "text": app, "style": {"bold": True}},
        {"type": "text", "text": " "},
        {"type": "text", "text": ref, "style": {"code": True}},
        {"type": "text", "text": commit + ending},
    ]
    sections = [_section(headline)]
    if sentences:
        sections.append(_section([{"type": "text", "text": sentences}]))
    if data["slack"]["permalink"]:
        link = {"type": "link", "url": data["slack"]["permalink"], "text": "Open the message"}
        sections.append(_section([link]))
    fallback = f"{lead}{app} {ref}{commit}{ending}"
    return {
        "text": _escape(f"{fallback}. {sentences}"[:LONGEST_FALLBACK].rstrip(" .") + "."),
        "blocks": [{"type": "rich_text", "elements": sections}],
    }


def _section(elements: list[dict[str, object]]) -> dict[str, object]:
    return {"type": "rich_text_section", "elements": elements}


def _sentences(data: Mapping[str, Any]) -> list[str]:
    # The headline says how it ended.
    reason = _one_line(data["reason"], LONGEST_REASON) if data["reason"] else ""
    reason = beside_facts(reason, failure=None, live=None)
    if not reason and data["live"] == Live.NEW and data["status"] == Status.SUCCEEDED:
        return []
    if reason and reason[-1] not in ".!?":
        reason += "."
    if reason:
        return [reason]  # the reason of a result says what is serving
    return [LIVE_SENTENCES[Live(data["live"])]] if data["live"] else []


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f" in {minutes}m {rest}s" if minutes else f" in {rest}s"


def _one_line(text: object, most: int = LONGEST_NAME) -> str:
    """Foreign text without line breaks and marks of the writing direction. Never empty."""
    seen = "".join(one if one.isprintable() else " " for one in str(text))
    return " ".join(seen.split())[:most] or "-"


def _escape(text: str) -> str:
    text = text.translate(_LOOKALIKES)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("@", "@\u2060")
