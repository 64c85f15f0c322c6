"""Resolves a request before it may start: which repository, which ref, which commit."""

import re
from collections.abc import Sequence

import structlog

from bot.deployments.app_names import AppNames
from bot.deployments.dokku_facts import FULL_SHA, NO_SUCH_APP, AppReport
from bot.deployments.model import Deployment, Failure, NotDeployable, Phase, Resolved
from bot.deployments.ports import (
    CannotTell,
    Dokku,
    Found,
    NotThere,
    RefAnswer,
    Refs,
    Servers,
    Several,
    Store,
)
from bot.errors import CommandFailed, StoreError

log = structlog.get_logger(__name__)

SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")
_AFTER_THE_FETCH = frozenset(
    {Failure.BUILD_FAILED, Failure.HEALTHCHECK_FAILED, Failure.RELEASE_FAILED, Failure.CRASHED}
)


def was_fetched(row: Deployment) -> bool:
    """Whether Dokku fetched its commit, so that the commit is known to be in its repository."""
    got_on = row.phase in {Phase.BUILDING, Phase.RELEASING, Phase.CHECKING, Phase.SUCCEEDED}
    return got_on or row.failure in _AFTER_THE_FETCH


def _ambiguous(deployment: Deployment, ref: str, shas: Sequence[str]) -> NotDeployable:
    names = " or ".join(shas[:5])
    return NotDeployable(
        failure=Failure.REF_NOT_FOUND,
        sentence=f"{ref} is ambiguous: in {deployment.app} it could be {names}. Give more digits",
    )


class RequestResolver:
    """Looks up repository and commit: in the settings, in Dokku's own record, in the repository."""

    def __init__(self, *, servers: Servers, refs: Refs, names: AppNames, store: Store) -> None:
        self._servers = servers
        self._store = store
        self._refs = refs
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
        ref = deployment.ref or await self._default_ref(dokku, deployment, report)
        answer = await self._refs.resolve(repo, ref)
        if SHORT_SHA.fullmatch(ref.lower()) and not isinstance(answer, NotThere):
            answer = await self._with_history(deployment, repo, ref.lower(), answer)
        match answer:
            case Found(sha):
                return Resolved(ref=ref, repo=repo, sha=sha)
            case NotThere():
                return NotDeployable(
                    failure=Failure.REF_NOT_FOUND,
                    sentence=f"{deployment.app}'s repository has no branch, tag or commit {ref}",
                )
            case Several(shas):
                return _ambiguous(deployment, ref, shas)
            case CannotTell():
                return Resolved(ref=ref, repo=repo, sha=ref if FULL_SHA.fullmatch(ref) else None)

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
        if not report.metadata:
            return "HEAD"
        return await dokku.deploy_branch(deployment.dokku_app) or "HEAD"

    async def _no_such_app(self, deployment: Deployment) -> NotDeployable:
        app, server = deployment.dokku_app, deployment.server
        suggestion = await self._names.suggest(app, [server])
        return NotDeployable(
            failure=Failure.APP_NOT_FOUND,
            sentence=f"There is no app {app} on {server}.{suggestion}",
        )
