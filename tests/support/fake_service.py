"""A Service without queue, store and Dokku: it records requests and posts live messages."""

from collections.abc import Sequence
from dataclasses import replace

from ulid import ULID

from bot.clock import SystemClock
from bot.deployments.app_names import AppNames, RefNames, did_you_mean
from bot.deployments.dokku_facts import Containers
from bot.deployments.live.compare import LiveEvidence, compare_live, is_good
from bot.deployments.live.reader import LiveReader, LiveReport
from bot.deployments.live.rollback import (
    RollbackPlan,
    RollbackTarget,
    check_commit,
    choose_given,
    choose_previous,
    choose_recorded,
)
from bot.deployments.locks.service import LockService
from bot.deployments.log_pages import LogPages
from bot.deployments.model import Actor, AppKey, AppPolicy, Deployment, MessagePlace, Phase, Trigger
from bot.deployments.ports import Catalog, Dokku, Servers
from bot.deployments.progress import Progress
from bot.deployments.requests.access import Access
from bot.deployments.requests.queries import Queries
from bot.deployments.requests.service import Request, Service
from bot.deployments.state.repository import DeploymentCache, DeploymentRepository
from bot.deployments.states import ENDINGS
from bot.deployments.timing import Timing
from bot.errors import Declined
from bot.names import check_app, check_ref
from bot.slack.client import SlackClient
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.render.deployment import render
from tests.support.builders import NOW, a_deployment
from tests.support.log_pages import pages_of
from tests.support.memory_store import MemoryLogs, MemoryStore
from tests.support.rig import FakeAnnouncer, FakeObserver, FakeRefs

SERVERS = ("production", "staging")
APPS = ("myapp", "shop")


class FakeService(Service):
    """What listeners talk to. `requests` and `cancels` are what came through."""

    def __init__(self, client: SlackClient) -> None:
        self.client = client
        self.store = _Store()
        clock = SystemClock()
        cache = DeploymentCache(clock=clock, ttl=Timing().tracker_ttl)
        self.deployments = DeploymentRepository(
            store=self.store, cache=cache, announcer=FakeAnnouncer(), observer=FakeObserver()
        )
        self.access = Access(people=client, catalog=_Catalog(), clock=clock)
        self.refs = FakeRefs()
        self.queries = _Queries(self)
        self.locks = LockService(
            store=self.store, catalog=_Catalog(), guard=self.access, clock=clock
        )
        self.requests: list[Request] = []
        self.cancels: list[tuple[str, Actor, str]] = []
        self.rows, self.logs = self.store.rows, self.store.texts
        self.keys: set[str] = set()
        self.apps: Sequence[str] = APPS
        self.broken = False
        self.now: Containers | None = None
        """What the containers of every app show; None: they cannot be read."""
        self.why: str | None = None

    def known(self, deployment: Deployment, log: str = "") -> Deployment:
        """Put a deployment into the repository."""
        self.rows[deployment.id] = deployment
        self.deployments.cache.put(deployment)
        self.logs[deployment.id] = log
        return deployment

    async def request(self, ask: Request) -> Deployment | None:
        if self.broken:
            raise ZeroDivisionError("a bug with the secret 4242 in it")
        check_app(ask.app)
        await self.access.admit(ask.actor)
        if ask.app not in self.apps:
            raise Declined(f"There is no app {ask.app}." + did_you_mean(ask.app, self.apps))
        if ask.request_key in self.keys:
            return None
        self.keys.add(ask.request_key)
        self.requests.append(ask)
        made = a_deployment(
            id=str(ULID()),
            app=ask.app,
            dokku_app=ask.app,
            ref=check_ref(ask.ref or "main"),
            server=ask.server or "production",
            requested_by=ask.actor,
            trigger=ask.trigger,
            request_key=ask.request_key,
            channel=ask.channel,
            retry_of=ask.retry_of,
            rollback_of=ask.rollback_of,
            phase=Phase.BUILDING,
        )
        return await self.post(made)

    async def post(self, deployment: Deployment, channel: str | None = None) -> Deployment:
        """Post the live message and put the deployment into the repository."""
        log = self.logs.get(deployment.id, "")
        self.known(deployment, log)
        shown = render(deployment, Progress(), now=NOW, buttons=MESSAGE_BUTTONS)
        place = channel or deployment.channel
        ts = await self.client.post(
            place, text=shown.text, blocks=shown.blocks, deployment_id=deployment.id
        )
        permalink = await self.client.permalink(place, ts)
        return self.known(
            replace(deployment, message=MessagePlace(channel=place, ts=ts, permalink=permalink)),
            log,
        )

    async def cancel(self, deployment_id: str, *, actor: Actor, through: str) -> str:
        self.cancels.append((deployment_id, actor, through))
        return "Cancelling it."

    async def retry(
        self, deployment_id: str, *, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        old = self.rows[deployment_id]
        return await self.request(
            Request(
                app=old.app,
                ref=old.ref,
                server=old.server,
                actor=actor,
                trigger=trigger,
                request_key=request_key,
                channel=channel,
                retry_of=old.id,
            )
        )

    async def plan_rollback(self, deployment_id: str, sha: str | None = None) -> RollbackPlan:
        target = choose_recorded(self.rows[deployment_id], sha)
        if target is None:
            raise Declined("No release was proven live before that deployment.")
        return self._plan(target)

    async def plan_app_rollback(
        self, app: str, commit: str | None, *, server: str | None
    ) -> RollbackPlan:
        rows = await self.queries.history(app, server=server, limit=100)
        if not rows:
            raise Declined(f"No deployment of `{app}` was found.")
        if len({one.server for one in rows}) > 1:
            raise Declined(f"{app} is on several servers. Say `{app} on SERVER`.")
        state = compare_live(LiveEvidence(started=rows))
        if commit is None:
            return self._plan(choose_previous(app, state))
        given = check_commit(app, commit)
        found = [one for one in rows if (one.sha or "").startswith(given)]
        return self._plan(choose_given(app, given, found, state))

    def _plan(self, target: RollbackTarget) -> RollbackPlan:
        live, good = target.deployment, [one for one in self.rows.values() if is_good(one)]
        source = next((one for one in good if one.sha == target.sha), None)
        return RollbackPlan(target=target, live=live, live_sha=live.sha, source=source)

    async def check_deployer(self, deployment: Deployment, actor: Actor) -> None:
        await self.access.admit(actor)

    async def check_cancel(self, deployment_id: str, actor: Actor) -> Deployment:
        await self.access.admit(actor)
        return self.rows[deployment_id]

    async def _deploy_target(
        self, target: RollbackTarget, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        return await self.request(
            Request(
                app=target.deployment.app,
                ref=target.sha,
                server=target.deployment.server,
                actor=actor,
                trigger=trigger,
                request_key=request_key,
                channel=channel,
                rollback_of=target.deployment.id,
            )
        )


class _Queries(Queries):
    """The real ones between a store in memory and two servers; what is live comes from the test."""

    def __init__(self, service: "FakeService") -> None:
        servers, timing, clock = _Servers(), Timing(), SystemClock()
        names = AppNames(servers=servers, clock=clock)
        catalog = _Catalog()
        super().__init__(
            deployments=service.deployments,
            catalog=catalog,
            servers=servers,
            names=names,
            timing=timing,
            reader=LiveReader(
                store=service.store, servers=servers, catalog=catalog, names=names, timing=timing
            ),
            refs=RefNames(servers=servers, refs=service.refs, clock=clock),
        )
        self._service = service

    async def live_soon(self, app: str, key: AppKey) -> LiveReport:
        (found,) = await self.live_state(app, server=key.server)
        return found

    async def live_state(self, app: str, *, server: str | None = None) -> Sequence[LiveReport]:
        rows = await self.history(app, server=server, limit=100)
        if not rows:
            raise Declined(f"There is no app {app}.")
        unfinished = [one for one in rows if one.phase not in ENDINGS]
        now, why = self._service.now, self._service.why
        evidence = LiveEvidence(started=rows, unfinished=unfinished, containers=now)
        state = compare_live(evidence)
        return [
            LiveReport(
                server=rows[0].server, app=app, dokku_app=rows[0].dokku_app, state=state, why=why
            )
        ]

    async def known_apps(self) -> Sequence[AppPolicy]:
        return [self.catalog.policy(app) for app in self._service.apps]


class _Texts(MemoryLogs):
    """Logs as whole texts."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, store.leases)
        self.texts: dict[str, str] = {}

    async def read(self, deployment_id: str) -> str:
        return self.texts.get(deployment_id, "")

    async def pages(self, deployment_id: str, first: int | None, most: int = 1) -> LogPages:
        return pages_of(self.texts.get(deployment_id, ""), first, most)


class _Store(MemoryStore):
    def __init__(self) -> None:
        super().__init__(SystemClock())
        self._logs = logs = _Texts(self)
        self.texts = logs.texts


class _Catalog(Catalog):
    def servers(self) -> Sequence[str]:
        return SERVERS

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        if server not in {None, *SERVERS}:
            raise Declined(f"There is no server {server}.")
        return AppPolicy(server=server or SERVERS[0], app=app, dokku_app=app)

    def rules_of(self, key: AppKey, app: str) -> AppPolicy | None:
        return self.policy(app, key.server)

    def named(self) -> frozenset[str]:
        return frozenset[str]().union(*(one.deployers | one.approvers for one in self.listed()))

    def listed(self) -> Sequence[AppPolicy]:
        return []

    def repo_for(self, policy: AppPolicy) -> str | None:
        return policy.repo or f"https://git.example/acme/{policy.app}.git"


class _Servers(Servers):
    def names(self) -> Sequence[str]:
        return SERVERS

    def get(self, name: str) -> Dokku:
        raise KeyError(name)  # no test asks a server
