"""Builds the domain from its ports: for the bot, for the unit tests' rig, for the truth test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.clock import Clock, Tasks
from bot.deployments.app_names import AppNames
from bot.deployments.execution.dispatcher import Dispatcher
from bot.deployments.execution.owned import WorkerContext
from bot.deployments.followup.crash_watch import CrashWatch
from bot.deployments.followup.late_verdicts import LateVerdicts
from bot.deployments.model import Deployment
from bot.deployments.observer import Observer
from bot.deployments.ports import Announcer, Catalog, People, Polls, Servers, Store
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.queue.rules import NO_LIMITS
from bot.deployments.refs import Refs
from bot.deployments.requests.access import Access
from bot.deployments.requests.server_cancel import ServerCancels
from bot.deployments.requests.service import Service
from bot.deployments.requests.submit import DispatcherHooks, RequestResolver, ShippedCommits
from bot.deployments.state.repository import DeploymentCache, DeploymentRepository
from bot.deployments.timing import Timing
from bot.deployments.verdict.server_cancel import LogWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the domain needs from outside."""

    store: Store
    cache: DeploymentCache
    announcer: Announcer
    observer: Observer
    servers: Servers
    refs: Refs
    catalog: Catalog
    people: People
    polls: Polls


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What the outside calls."""

    service: Service
    dispatcher: Dispatcher
    deployments: DeploymentRepository
    late_verdicts: LateVerdicts
    crash_watch: CrashWatch


def assemble_domain(
    ports: Ports,
    *,
    replica: str,
    timing: Timing,
    clock: Clock,
    tasks: Tasks,
    max_running: Mapping[str, int] = NO_LIMITS,
) -> Domain:
    """Build every part of the domain. Starts nothing."""
    deployments = DeploymentRepository(
        store=ports.store, cache=ports.cache, announcer=ports.announcer, observer=ports.observer
    )
    access = Access(people=ports.people, catalog=ports.catalog, clock=clock)
    names = AppNames(servers=ports.servers, clock=clock)
    resolver = RequestResolver(
        servers=ports.servers, refs=ports.refs, names=names, store=ports.store
    )
    commits = ShippedCommits(deployments=deployments, refs=ports.refs, spawn=tasks.spawn)
    logs = LogWatch(clock=clock, timing=timing)
    late_verdicts = LateVerdicts(
        replica=replica,
        servers=ports.servers,
        deployments=deployments,
        logs=logs,
        timing=timing,
        clock=clock,
        spawn=tasks.spawn,
    )
    removal = QueueRemoval(
        deployments=deployments, servers=ports.servers, timing=timing, clock=clock
    )
    dispatcher = Dispatcher(
        replica=replica,
        servers=ports.servers,
        context=WorkerContext(
            deployments=deployments,
            look_up=resolver.look_up,
            check_start=access.check_start,
            read_commits=commits.read,
            polls=ports.polls,
            logs=logs,
            timing=timing,
            clock=clock,
            stream_ended=late_verdicts.stream_ended,
            spawn=tasks.spawn,
        ),
        removal=removal,
        max_running=max_running,
        is_latest=_latest_rule(ports.catalog),
    )
    hooks = DispatcherHooks(
        look_for_work=dispatcher.look_for_work,
        cancel_requested=dispatcher.cancel_requested,
        spawn=tasks.spawn,
    )
    service = Service(
        deployments=deployments,
        catalog=ports.catalog,
        servers=ports.servers,
        access=access,
        resolver=resolver,
        names=names,
        timing=timing,
        clock=clock,
        removal=removal,
        hooks=hooks,
        commits=commits,
        server_cancels=ServerCancels(
            replica=replica,
            deployments=deployments,
            catalog=ports.catalog,
            servers=ports.servers,
            access=access,
            logs=logs,
            hooks=hooks,
            look_late=late_verdicts.look,
            timing=timing,
            clock=clock,
        ),
    )
    crash_watch = CrashWatch(
        replica=replica,
        servers=ports.servers,
        deployments=deployments,
        timing=timing,
        clock=clock,
        spawn=tasks.spawn,
    )
    return Domain(
        service=service,
        dispatcher=dispatcher,
        deployments=deployments,
        late_verdicts=late_verdicts,
        crash_watch=crash_watch,
    )


def _latest_rule(catalog: Catalog) -> Callable[[Deployment], bool]:
    """Whether the settings let a newer request of the app replace older ones."""

    def is_latest(deployment: Deployment) -> bool:
        # By server and Dokku app: the table may have another name by now.
        rules = catalog.rules_of(deployment.target, deployment.app)
        return rules is not None and rules.latest

    return is_latest
