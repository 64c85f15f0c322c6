"""Approve and reject at a shell: the bot's own rules, on the same database."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from bot.clock import SystemClock
from bot.config.loading import Settings, load_settings
from bot.deployments.app_names import AppNames
from bot.deployments.model import Deployment, MessagePlace, Phase
from bot.deployments.observer import Observer
from bot.deployments.ports import Announcer, Store, Urgency
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.requests.approvals import Approvals
from bot.deployments.requests.submit import RequestResolver
from bot.deployments.state.repository import DeploymentCache, DeploymentRepository
from bot.errors import ConfigError, Declined
from bot.git import GitRefs
from bot.operations.database import open_records
from bot.operations.records import find, operator
from bot.operations.servers import AskedServers


async def approve(word: str) -> str:
    """Approve a deployment. Returns the sentence to print. Declined: why not."""
    async with _open_approvals() as (store, approvals):
        found = await _find(store, word)
        return await approvals.approve(found.id, actor=operator(), through="cli", shown=found.sha)


async def reject(word: str, reason: str | None) -> str:
    """Reject a deployment. Returns the sentence to print. Declined: why not."""
    async with _open_approvals() as (store, approvals):
        found = await _find(store, word)
        return await approvals.reject(found.id, actor=operator(), through="cli", reason=reason)


async def _find(store: Store, word: str) -> Deployment:
    """By id or part of one, or the only one of an app that waits. Declined: none, or several."""
    named = [one for one in await store.unfinished() if word in {one.app, one.dokku_app}]
    waiting = [one for one in named if one.phase is Phase.AWAITING_APPROVAL]
    if len(waiting) > 1:
        ids = ", ".join(one.id for one in waiting)
        count = len(waiting)
        raise Declined(f"{count} deployments of {word} wait for an approval. Name one: {ids}")
    return waiting[0] if waiting else await find(store, word)


@asynccontextmanager
async def _open_approvals() -> AsyncIterator[tuple[Store, Approvals]]:
    settings, clock = _settings(), SystemClock()
    timing = settings.timing()
    servers = AskedServers(settings)
    async with open_records(settings) as store:
        deployments = DeploymentRepository(
            store=store,
            cache=DeploymentCache(clock=clock, ttl=timing.tracker_ttl),
            announcer=_ShownByTheBot(),
            observer=_CountedByTheBot(),
        )
        resolver = RequestResolver(
            servers=servers,
            refs=GitRefs(settings.git_credentials),
            names=AppNames(servers=servers, clock=clock),
            store=store,
        )
        try:
            yield (
                store,
                Approvals(
                    deployments=deployments,
                    look_up=resolver.look_up,
                    removal=QueueRemoval(
                        deployments=deployments, servers=servers, timing=timing, clock=clock
                    ),
                    clock=clock,
                    look_for_work=lambda: None,
                    read_commits=lambda _moved: None,  # the start reads them
                ),
            )
        finally:
            await servers.aclose()


def _settings() -> Settings:
    """All settings; or, where an operator has only the database, as many as there are."""
    try:
        return load_settings()
    except ConfigError:
        return load_settings(complete=False)


class _ShownByTheBot(Announcer):
    """The running bot sees the change in the database, and shows it."""

    async def post(self, deployment: Deployment) -> MessagePlace:
        raise Declined(f"A shell posts no message for {deployment.id}.")

    def changed(self, deployment_id: str, urgency: Urgency) -> None:
        pass


class _CountedByTheBot(Observer):
    """A shell has no metrics."""

    def ended(self, deployment: Deployment) -> None:
        pass

    def polled(self, took_s: float) -> None:
        pass

    def poll_failed(self) -> None:
        pass

    def counted(self, unfinished: Collection[Deployment]) -> None:
        pass
