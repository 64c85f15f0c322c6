"""Resolves a stored deployment, takes it to its message and into the queue, or withdraws it."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import Clock
from bot.deployments.app_names import AppNames
from bot.deployments.dokku_facts import FULL_SHA, NO_SUCH_APP, AppReport
from bot.deployments.live.compare import commit_by_history, was_fetched
from bot.deployments.model import (
    Actor,
    AuditEntry,
    Deployment,
    Failure,
    NotDeployable,
    Resolved,
    Who,
)
from bot.deployments.ports import Dokku, Servers, Store, Urgency
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.refs import CannotTell, Found, NotThere, RefAnswer, Refs, Several
from bot.deployments.requests.twins import give_way
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.timing import Timing
from bot.deployments.verdict.wording import as_sentence
from bot.errors import CommandFailed, Declined, DokkuError, NoSuchRef, StaleState, StoreError, Twin

log = structlog.get_logger(__name__)

STORE_PAUSE = timedelta(seconds=1)
"""Between tries while the database is down."""
SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")


def _ambiguous(deployment: Deployment, ref: str, shas: Sequence[str]) -> NotDeployable:
    could = f"in {deployment.app} it could be {' or '.join(shas[:5])}"
    sentence = f"{ref} is ambiguous: {could}. Give more digits"
    return NotDeployable(failure=Failure.REF_NOT_FOUND, sentence=sentence)


class RequestResolver:
    """Looks up repository and commit: in the settings, in Dokku's own record, in the repository."""

    def __init__(self, *, servers: Servers, refs: Refs, names: AppNames, store: Store) -> None:
        self.refs = refs
        self._servers = servers
        self._store = store
        self._names = names

    async def look_up(self, deployment: Deployment) -> Resolved | NotDeployable:
        """Ask Dokku and the repository. Idempotent. DokkuError: the server did not answer."""
        dokku = self._servers.get(deployment.server)
        try:
            report = await dokku.report(deployment.dokku_app)
        except CommandFailed as failed:
            if failed.exit_status == NO_SUCH_APP:
                return await self._no_such_app(deployment)
            raise
        repo = deployment.repo or report.repo
        if repo is None:
            return NotDeployable(
                failure=Failure.REFUSED,
                sentence=(
                    f"No repository is known for {deployment.app}. Set `repo` in its table, "
                    "or DEPLOYBOT_REPO_TEMPLATE"
                ),
            )
        ref, answer = await self._find(dokku, deployment, report, repo)
        if SHORT_SHA.fullmatch(ref.lower()) and not isinstance(answer, NotThere):
            answer = await self._with_history(deployment, repo, ref.lower(), answer)
        match answer:
            case Found(sha=sha):
                return Resolved(ref=ref, repo=repo, sha=sha, deployed=report.sha)
            case NotThere():
                return NotDeployable(
                    failure=Failure.REF_NOT_FOUND,
                    sentence=f"{deployment.app}'s repository has no branch, tag or commit {ref}",
                )
            case Several(shas):
                return _ambiguous(deployment, ref, shas)
            case CannotTell():
                known = ref if FULL_SHA.fullmatch(ref) else None
                return Resolved(ref=ref, repo=repo, sha=known, deployed=report.sha)

    async def _find(
        self, dokku: Dokku, deployment: Deployment, report: AppReport, repo: str
    ) -> tuple[str, RefAnswer]:
        """The ref by its name, and its commit."""
        ref = deployment.ref or await self._default_ref(dokku, deployment, report)
        answer = await self.refs.resolve(repo, ref)
        unset = not deployment.ref and ref == "master" and isinstance(answer, NotThere)
        if unset and not await dokku.keeps_records():
            # An old Dokku names `master` also where no branch is set.
            ref = "HEAD"
            answer = await self.refs.resolve(repo, ref)
        if isinstance(answer, Found) and answer.branch is not None:
            ref = answer.branch
        return ref, answer

    async def _with_history(
        self, deployment: Deployment, repo: str, digits: str, answer: RefAnswer
    ) -> RefAnswer:
        """Also look up a short commit among those that Dokku fetched for the app before."""
        if isinstance(answer, Found) and not answer.sha.startswith(digits):
            return answer  # the digits are the name of a branch or tag
        try:
            past = await self._store.started(deployment.target, commit=digits)
        except StoreError as error:
            log.info("history_not_searched", deployment_id=deployment.id, why=str(error))
            return CannotTell("earlier deployments could not be searched")
        known = {one.sha for one in past if one.sha and one.repo == repo and was_fetched(one)}
        if isinstance(answer, Found):
            known.add(answer.sha)
        elif isinstance(answer, Several):
            known.update(answer.shas)
        if not known:
            return answer
        return Found(known.pop()) if len(known) == 1 else Several(tuple(sorted(known)))

    async def _default_ref(self, dokku: Dokku, deployment: Deployment, report: AppReport) -> str:
        branch = await dokku.deploy_branch(deployment.dokku_app)
        if branch == "master" and not report.metadata and not await dokku.keeps_records():
            branch = None  # an old Dokku names it where none is set, and a clone decides
        return branch or "HEAD"

    async def _no_such_app(self, deployment: Deployment) -> NotDeployable:
        app, server = deployment.dokku_app, deployment.server
        suggestion = await self._names.suggest(app, [server])
        return NotDeployable(
            failure=Failure.APP_NOT_FOUND,
            sentence=f"{self._names.no_app(app, server)}.{suggestion}",
        )


class ShippedCommits:
    """Reads what deployments ship, in the background: nothing waits for it or fails by it."""

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        refs: Refs,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._deployments = deployments
        self._refs = refs
        self._spawn = spawn
        self._asked: dict[str, tuple[str, str | None]] = {}
        """Deployment -> its commit and the live one of the newest question about it."""

    def read_early(self, deployment: Deployment, deployed: str | None) -> None:
        """At the request: compare with what is live now. `deployed`: by Dokku's own record."""
        self._spawn(self._read_early(deployment, deployed))

    def read(self, deployment: Deployment) -> None:
        """At the start, or of a new commit: compare with what is live, if that is not known yet."""
        known = deployment.commits
        live_sha = deployment.previous_sha or (known.base if known else None)
        if known is None or (deployment.sha, live_sha) != (known.head.sha, known.base):
            self._ask(deployment, live_sha)

    async def _read_early(self, deployment: Deployment, deployed: str | None) -> None:
        try:
            started = await self._deployments.store.started(deployment.target)
        except StoreError as error:
            log.info("live_commit_not_read", deployment_id=deployment.id, why=str(error))
            return
        recorded = commit_by_history(started)
        # If the two differ, only the containers show what is live: the start reads them.
        differ = recorded and deployed and recorded != deployed
        self._ask(deployment, None if differ else recorded or deployed)

    def _ask(self, deployment: Deployment, live_sha: str | None) -> None:
        key, repo, sha = deployment.id, deployment.repo, deployment.sha
        if repo is not None and sha is not None and self._asked.get(key) != (sha, live_sha):
            self._asked[key] = sha, live_sha
            self._spawn(self._read(key, repo, sha, live_sha))

    async def _read(self, deployment_id: str, repo: str, sha: str, live_sha: str | None) -> None:
        commits = await self._refs.commits(repo, sha, live_sha)
        if self._asked.get(deployment_id) != (sha, live_sha):
            return  # a newer question asks about another commit, or what is live by now
        del self._asked[deployment_id]
        if commits is None:
            return
        try:
            await self._deployments.place_commits(deployment_id, commits)
        except StoreError as error:
            log.info("commits_not_stored", deployment_id=deployment_id, why=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherHooks:
    """What requests set in motion. Each call returns at once."""

    look_for_work: Callable[[], None]
    cancel_requested: Callable[[str], None]
    """Someone asked to cancel a running deployment."""
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Run in the background as a tracked task."""


class Submission:
    """Posts a new deployment.

    If the caller got an error, the deployment never starts. Once its message is posted, it is
    never lost.
    """

    def __init__(
        self,
        *,
        deployments: DeploymentRepository,
        resolver: RequestResolver,
        timing: Timing,
        clock: Clock,
        hooks: DispatcherHooks,
        removal: QueueRemoval,
        commits: ShippedCommits,
    ) -> None:
        self.in_progress: set[str] = set()
        """Deployments that this process is posting or withdrawing; no one else may post them."""
        self._deployments = deployments
        self._store = deployments.store
        self._resolver = resolver
        self._timing = timing
        self._clock = clock
        self._hooks = hooks
        self._removal = removal
        self._commits = commits

    async def submit(self, deployment: Deployment, actor: Actor) -> Deployment:
        """Resolve a new row, post its message and let it start.

        Raises: Declined and SlackError, with one sentence for the requester; the row is withdrawn.
        """
        look_up = asyncio.ensure_future(self._resolver.look_up(deployment))
        self.in_progress.add(deployment.id)
        try:
            deployment = await self._resolve_and_post(deployment, look_up)
        except asyncio.CancelledError:
            # This process stops. The next one finds the message, or posts it.
            look_up.cancel()
            self.in_progress.discard(deployment.id)
            raise
        except Exception as error:
            look_up.cancel()
            self._deployments.cache.forget(deployment.id)
            await self.withdraw(deployment, actor, error)
            raise
        await self._store_message(deployment)
        if deployment.ready:
            self._hooks.look_for_work()
            self._read_commits(deployment, look_up.result())
        else:
            self._deployments.note_waiting(
                deployment.id, position=None, waits_for="the commit to be looked up"
            )
            self._hooks.spawn(self._finish_look_up(deployment, look_up))
        return deployment

    async def withdraw(self, deployment: Deployment, actor: Actor, error: Exception) -> None:
        """Delete a row whose requester gets an error; the error waits a little for it."""
        self.in_progress.add(deployment.id)
        audit = AuditEntry(
            actor=actor, through="service", action="withdrawn", detail={"why": str(error)}
        )
        withdrawing = self._hooks.spawn(self._withdraw(deployment.id, audit))
        await asyncio.wait({withdrawing}, timeout=self._timing.withdraw_within.total_seconds())

    async def _resolve_and_post(
        self, deployment: Deployment, look_up: asyncio.Future[Resolved | NotDeployable]
    ) -> Deployment:
        grace = self._timing.lookup_grace.total_seconds()
        done, _ = await asyncio.wait({look_up}, timeout=grace)
        found = look_up.result() if done and not look_up.exception() else None
        if isinstance(found, NotDeployable):
            kind = NoSuchRef if found.failure is Failure.REF_NOT_FOUND else Declined
            raise kind(as_sentence(found.sentence))
        if isinstance(found, Resolved):
            deployment = await self._save_resolved(deployment, found, first=True)
        if deployment.channel:
            live_sha = await self._already_live(deployment)
            self._deployments.cache.put(deployment)
            self._show_live(deployment.id, live_sha)
            message = await self._deployments.announcer.post(deployment)
            deployment = replace(deployment, message=message)
        self._deployments.cache.put(deployment)
        return deployment

    async def _store_message(self, deployment: Deployment) -> None:
        """Store where the message is. Until that succeeds, the deployment does not start."""
        try:
            if deployment.message is not None:
                await self._store.place_message(deployment.id, deployment.message)
        except StaleState as stale:
            log.warning("message_not_stored", deployment_id=deployment.id, why=str(stale))
        except StoreError as error:
            log.warning("message_not_stored", deployment_id=deployment.id, why=str(error))
            self._hooks.spawn(self._store_message_later(deployment))
            return
        self.in_progress.discard(deployment.id)

    async def _store_message_later(self, deployment: Deployment) -> None:
        await self._clock.sleep(STORE_PAUSE)
        await self._store_message(deployment)
        self._hooks.look_for_work()

    async def _withdraw(self, deployment_id: str, audit: AuditEntry) -> None:
        while not await self._try_withdraw(deployment_id, audit):
            await self._clock.sleep(STORE_PAUSE)

    async def _try_withdraw(self, deployment_id: str, audit: AuditEntry) -> bool:
        try:
            await self._store.withdraw(deployment_id, audit)
        except StaleState as stale:
            log.info("nothing_to_withdraw", deployment_id=deployment_id, why=str(stale))
        except StoreError as error:
            log.warning("not_withdrawn", deployment_id=deployment_id, why=str(error))
            return False
        # `CacheSync` may have put it back in the meantime.
        self._deployments.cache.forget(deployment_id)
        self.in_progress.discard(deployment_id)
        return True

    async def _save_resolved(
        self, deployment: Deployment, found: Resolved, *, first: bool = False
    ) -> Deployment:
        """`first`: Declined where the same commit is the last that waits for the app."""
        changed = replace(deployment, ref=found.ref, repo=found.repo, sha=found.sha, ready=True)
        by, was = Who.SERVICE, deployment.phase
        try:
            return await self._store.save(changed, was=was, by=by, first=first)
        except Twin as twin:
            again = await give_way(
                changed,
                twin.deployment_id,
                store=self._store,
                clock=self._clock,
                timing=self._timing,
            )
            return await self._save_resolved(deployment, found, first=again)

    async def _already_live(self, deployment: Deployment) -> str | None:
        """The commit, if it is live by the history and nothing under way may change that."""
        if deployment.sha is None:
            return None
        try:
            live_sha = commit_by_history(await self._store.started(deployment.target))
            if live_sha != deployment.sha:
                return None
            unfinished = await self._store.unfinished(deployment.target)
        except StoreError as error:
            log.info("live_commit_not_read", deployment_id=deployment.id, why=str(error))
            return None
        return live_sha if all(one.id == deployment.id for one in unfinished) else None

    def _read_commits(self, deployment: Deployment, found: Resolved | NotDeployable) -> None:
        if isinstance(found, Resolved):
            self._commits.read_early(deployment, found.deployed)

    def _show_live(self, deployment_id: str, live_sha: str | None) -> None:
        progress = replace(self._deployments.progress(deployment_id), live_sha=live_sha)
        self._deployments.cache.note(deployment_id, progress)

    async def _finish_look_up(
        self, deployment: Deployment, look_up: asyncio.Future[Resolved | NotDeployable]
    ) -> None:
        try:
            found = await look_up
            if isinstance(found, NotDeployable):
                await self._removal.fail(deployment, found.failure, found.sentence)
                return
            fresh = await self._save_resolved(deployment, found)
            self._deployments.cache.put(fresh)
            self._deployments.note_waiting(deployment.id, position=None, waits_for=None)
            self._show_live(fresh.id, await self._already_live(fresh))
            self._deployments.announcer.changed(fresh.id, Urgency.PHASE)
            self._read_commits(fresh, found)
        except (DokkuError, StoreError) as error:
            # It was cancelled or started in the meantime, or the server did not answer: the
            # replica that starts it looks it up again, with its own tries and time limit.
            log.info("look_up_left_to_start", deployment_id=deployment.id, why=str(error))
        finally:
            self._hooks.look_for_work()
