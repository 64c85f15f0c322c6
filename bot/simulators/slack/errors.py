"""What goes wrong in the simulated Slack, and whose fault it is."""

from collections.abc import Sequence
from typing import Any


class ApiError(Exception):
    """The app asked for something that the Web API refuses: `{"ok": false, "error": code}`."""

    def __init__(self, code: str, *, messages: Sequence[str] = (), **extra: Any) -> None:
        super().__init__(code)
        self.code = code
        self.messages = tuple(messages)
        self.extra = extra

    def to_json(self) -> dict[str, Any]:
        """Slack's error body; `messages` are what it puts into `response_metadata`."""
        body: dict[str, Any] = {"ok": False, "error": self.code, **self.extra}
        if self.messages:
            body["response_metadata"] = {"messages": list(self.messages)}
        return body


class NotPossible(Exception):
    """A person tried what a Slack client does not offer: the test or the page is wrong."""


class NothingHappened(AssertionError):
    """`until` waited in vain; the text shows the workspace as it was at the end."""


class ManifestError(Exception):
    """Slack would not accept this app manifest."""
