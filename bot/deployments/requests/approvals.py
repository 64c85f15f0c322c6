"""Approve or reject a deployment before it joins the queue. A refusal is one sentence."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bot.clock import Clock
from bot.deployments.model import (
    Actor,
    AuditEntry,
    Deployment,
    Failure,
    NotDeployable,
    Phase,
    Resolved,
    Who,
)
from bot.deployments.progress import moved_words, short_words
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.state.repository import COMMIT_CHANGED, DeploymentRepository
from bot.deployments.verdict.wording import as_sentence
from bot.errors import Declined, DokkuError, StaleState
from bot.names import quoted

Check = Callable[[Deployment, Actor, bool], Awaitable[None]]
"""(deployment, who decides, whether they reject): Declined if they may not."""
LookUp = Callable[[Deployment], Awaitable[Resolved | NotDeployable]]

LONGEST_REASON = 500
"""The form's own limit; a command and a shell may give more, and a result's reason is one line."""
TRIES = 3
"""How often a click is judged again because someone else changed the deployment meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """The first valid decision counts; the store's guard settles clicks at the same instant."""

    deployments: DeploymentRepository
    look_up: LookUp
    removal: QueueRemoval
    clock: Clock
    look_for_work: Callable[[], None]
    read_commits: Callable[[Deployment], None]
    """Read what it ships, in the background. Returns at once."""
    check: Check | None = None
    """None: at a shell, for whoever can write to the database may do everything."""

    async def approve(
        self, deployment_id: str, *, actor: Actor, through: str, shown: str | None = None
    ) -> str:
        """Let it join the queue; returns the sentence to answer with. Declined.

        `shown` is the commit that the approver saw. If the ref has moved since, nothing is
        approved: the message then shows the new commit, and the approver decides again.
        """
        for _ in range(TRIES):
            deployment = await self._awaiting(deployment_id)
            if self.check is not None:
                await self.check(deployment, actor, False)
            try:
                deployment = await self._check_commit(deployment, actor, through)
                if shown is not None and deployment.sha != shown:
                    raise Declined(
                        f"Not approved: the button was for {short_words(shown)}, and the "
                        f"deployment is now of {short_words(deployment.sha)}. Decide again in its "
                        "message."
                    )
                await self._queue(deployment, actor, through)
            except StaleState:
                continue
            self.look_for_work()
            return (
                f"Approved {_name(deployment)} ({short_words(deployment.sha)}). It is queued now."
            )
        raise _changing()

    async def reject(
        self, deployment_id: str, *, actor: Actor, through: str, reason: str | None = None
    ) -> str:
        """End it before it starts; returns the sentence to answer with. Declined."""
        why = " ".join((reason or "").split())[:LONGEST_REASON]
        for _ in range(TRIES):
            deployment = await self._awaiting(deployment_id)
            if self.check is not None:
                await self.check(deployment, actor, True)
            cause = f"{actor.name or actor.user} rejected it{f': {why}' if why else ''}"
            try:
                await self.removal.fail(
                    deployment, Failure.REJECTED, cause, by=actor, through=through
                )
            except StaleState:
                continue
            return f"Rejected {_name(deployment)}. Nothing was sent to Dokku."
        raise _changing()

    async def _awaiting(self, deployment_id: str) -> Deployment:
        deployment = await self.deployments.store.get(deployment_id)
        if deployment is None:
            raise Declined("That deployment is no longer on record.")
        if deployment.phase is Phase.AWAITING_APPROVAL:
            _refuse_cancelled(deployment)
            return deployment
        by = deployment.approved_by
        if by is not None:
            raise Declined(
                f"{_name(deployment)} was already approved, by {by.name or by.user}. "
                "Nothing was changed."
            )
        raise Declined(
            f"{_name(deployment)} isn't waiting for an approval: {deployment.phase}. "
            "Nothing was changed."
        )

    async def _check_commit(self, asked: Deployment, actor: Actor, through: str) -> Deployment:
        """The row if its ref still is the commit that was asked for. Declined: it is not."""
        try:
            found = await self.look_up(asked)
        except DokkuError as error:
            if asked.ready:
                return asked  # the commit that everybody saw is what is deployed
            raise Declined(
                f"Not approved: the commit isn't known yet. {as_sentence(str(error))} "
                "Try again when the message shows it."
            ) from error
        if isinstance(found, NotDeployable):
            raise Declined(
                f"Not approved: {as_sentence(found.sentence)} It can be rejected or cancelled."
            )
        if asked.ready and (found.sha is None or found.sha == asked.sha):
            return asked
        pinned = replace(asked, ref=found.ref, repo=found.repo, sha=found.sha, ready=True)
        audit = AuditEntry(
            actor=actor,
            through=through,
            action=COMMIT_CHANGED,
            detail={"from": asked.sha or "", "to": found.sha or ""},
        )
        fresh = await self.deployments.save(
            pinned, was=Phase.AWAITING_APPROVAL, by=Who.SERVICE, audit=audit
        )
        self.read_commits(fresh)
        if asked.sha is None:
            return fresh
        moved = moved_words(asked.ref, asked.sha, found.sha)
        progress = self.deployments.progress(asked.id)
        self.deployments.note(asked.id, replace(progress, notes=(f"{moved}.",)))
        again = "Approve the new commit in its message, or reject."
        if self.check is None:
            again = "To approve the new commit, run the command again."
        raise Declined(f"Not approved: {moved}. {again}")

    async def _queue(self, deployment: Deployment, actor: Actor, through: str) -> None:
        approved = replace(
            deployment,
            phase=Phase.QUEUED,
            queued_at=self.clock.now(),
            approved_by=actor,
        )
        audit = AuditEntry(
            actor=actor,
            through=through,
            action="approved",
            detail={"sha": deployment.sha or "not known"},
        )
        fresh = await self.deployments.save(
            approved, was=Phase.AWAITING_APPROVAL, by=Who.SERVICE, audit=audit
        )
        # A shell only stores its request: one that came during the click is carried out now.
        _refuse_cancelled(fresh)


def _refuse_cancelled(deployment: Deployment) -> None:
    """Declined: it will be cancelled instead of started, whatever is decided."""
    if deployment.cancel is not None:
        by = deployment.cancel.by
        raise Declined(
            f"{_name(deployment)} is being cancelled, as {quoted(by.name or by.user)} asked. "
            "It will not be started."
        )


def _changing() -> Declined:
    return Declined("The deployment is changing right now. Look at its message and try again.")


def _name(deployment: Deployment) -> str:
    return f"{deployment.app} `{quoted(deployment.ref)}`"
