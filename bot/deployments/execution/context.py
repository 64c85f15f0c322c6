"""What all workers of a replica share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bot.clock import Clock
from bot.deployments.model import Deployment, LogFacts
from bot.deployments.ports import Polls
from bot.deployments.requests.resolve import NotDeployable, Resolved
from bot.deployments.state.repository import DeploymentRepository
from bot.deployments.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Made once, by `assemble_domain`."""

    deployments: DeploymentRepository
    look_up: Callable[[Deployment], Awaitable[Resolved | NotDeployable]]
    """Find the repository and the commit of a deployment that is not `ready`."""
    polls: Polls
    timing: Timing
    clock: Clock
    stream_ended: Callable[[Deployment, int | None, LogFacts], Coroutine[Any, Any, None]]
    """Called when the stream of a deployment that was reported as lost has ended after all."""
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Run as a tracked task whose failure is logged."""
