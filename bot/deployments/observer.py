"""What the domain reports to metrics and to the shell's counters."""

from collections.abc import Collection
from typing import Protocol

from bot.deployments.model import Deployment


class Observer(Protocol):
    """Counts and times for operators; never decides anything."""

    def ended(self, deployment: Deployment) -> None:
        """A deployment ended."""
        ...

    def polled(self, took_s: float) -> None:
        """A poll was answered."""
        ...

    def poll_failed(self) -> None:
        """A poll was not answered."""
        ...

    def counted(self, unfinished: Collection[Deployment]) -> None:
        """All deployments that have not ended."""
        ...
