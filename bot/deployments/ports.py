"""What the domain needs from outside, in its own words. Adapters implement these."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from bot.deployments.dokku_facts import AppReport, BuildRecord, Containers
from bot.deployments.model import AppPolicy, Deployment, LogFacts, MessagePlace


class DeployStream(Protocol):
    """One deploy command on an SSH connection of its own. Closing it kills the deploy."""

    @property
    def facts(self) -> LogFacts:
        """What the lines so far state."""
        ...

    @property
    def exit_status(self) -> int | None:
        """The command's exit status; None while it runs and when it was never learnt.

        A process killed by a signal gives -1.
        """
        ...

    @property
    def last_byte_at(self) -> float:
        """`time.monotonic()` of the last byte received (of the start, before any)."""
        ...

    def lines(self) -> AsyncIterator[Sequence[str]]:
        """Cleaned, redacted, complete lines, in batches as they arrive; ends with the command.

        Never raises for a lost line: it then ends with `exit_status` None.
        """
        ...

    async def close(self) -> None:
        """Hang up. The deploy dies at its next line of output."""
        ...


class Dokku(Protocol):
    """One Dokku server. Every question may raise Unreachable, OutcomeUnknown, OddReport."""

    async def keeps_records(self) -> bool:
        """Whether this Dokku has `builds:*` (>= 0.38)."""
        ...

    async def apps(self) -> Sequence[str]:
        """Names of all apps."""
        ...

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        """Build records of one app, newest first; empty before 0.38.

        CommandFailed with exit status 20: no such app.
        """
        ...

    async def report(self, app: str) -> AppReport:
        """`apps:report`. CommandFailed with exit status 20: no such app."""
        ...

    async def containers(self, app: str) -> Containers | None:
        """What runs now; None: it could not be read (Docker down, containers gone)."""
        ...

    async def fetched_sha(self, app: str) -> str | None:
        """`git:report --git-sha`: the commit fetched last. Not what is live."""
        ...

    async def deploy_branch(self, app: str) -> str | None:
        """`git:report --git-deploy-branch`; None where none is set yet."""
        ...

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        """The whole text of an ended build, cleaned and redacted, with what it states."""
        ...

    def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:
        """What lines that were kept (cleaned, redacted) state."""
        ...

    async def cancel_build(self, app: str) -> bool:
        """`builds:cancel`. True: it says that it killed a deploy. False: nothing was killed."""
        ...

    async def deploy(self, app: str, repo: str, pinned: str) -> DeployStream:
        """Log in anew and start `git:sync --build`. Unreachable: nothing was started."""
        ...


class Servers(Protocol):
    """All configured servers."""

    def names(self) -> Sequence[str]:
        """Configured names, in order."""
        ...

    def get(self, name: str) -> Dokku:
        """The driver of a server. KeyError for an unknown name."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A ref's commit."""

    sha: str


@dataclass(frozen=True, slots=True)
class NotThere:
    """The repository was listed and has no such ref."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The repository could not be listed from here (private, down, too slow, short SHA)."""

    why: str


@dataclass(frozen=True, slots=True)
class Several:
    """A shortened commit that may be each of these."""

    shas: tuple[str, ...]


RefAnswer = Found | NotThere | CannotTell | Several


class Refs(Protocol):
    """Lists git repositories."""

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        """The full commit of a branch, tag or SHA. Answers within 5 s; raises nothing.

        A full SHA is Found as it is. A short one (7 digits or more) is Found where it is the
        beginning of exactly one commit that a branch or tag names, else CannotTell or Several.
        """
        ...


class Urgency(IntEnum):
    """Order of edits: ends and answers to clicks, then phases and first lines, then the rest."""

    NOW = 0
    PHASE = 1
    ROUTINE = 2


class Announcer(Protocol):
    """Tells Slack. Implemented by the live message."""

    async def post(self, deployment: Deployment) -> MessagePlace:
        """Post the live message. SlackError, with a sentence for the asker: it cannot be."""
        ...

    def changed(self, deployment_id: str, urgency: Urgency) -> None:
        """The deployment looks different now; the message will converge. Returns at once."""
        ...


class Catalog(Protocol):
    """What the settings say of apps."""

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        """The policy of an app. Declined: unknown server, or the app is not listed and must be."""
        ...

    def listed(self) -> Sequence[AppPolicy]:
        """Apps with a table of their own."""
        ...

    def repo_for(self, policy: AppPolicy) -> str | None:
        """The app's own repo, else the template's; None: Dokku's own record must tell."""
        ...


class Groups(Protocol):
    """Slack user groups."""

    async def groups_of(self, user: str, among: Collection[str]) -> frozenset[str]:
        """Those of the group ids `among` that hold the user; unknown ones are left out."""
        ...


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
        """All that have not ended, at this moment."""
        ...


class Polls(Protocol):
    """The scheduler, as the domain sees it."""

    def watch(self, deployment_id: str) -> None:
        """Call `Dispatcher.tick(id)` each poll interval, spread, until `unwatch`."""
        ...

    def unwatch(self, deployment_id: str) -> None:
        """Stop. Unknown ids are fine."""
        ...


ServerHealth = Mapping[str, str | None]
"""Server name -> None when its last question was answered, else the sentence why not."""
