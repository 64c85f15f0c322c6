"""Docker's restarts of a container that crashes: on-failure, ten times."""

from bot.simulators.dokku.app import App
from bot.simulators.dokku.host_state import HostState
from bot.simulators.dokku.model import Container, RunState

MAX_RESTARTS = 10
FIRST_PAUSE_S = 0.1
STEADY_LIFE_S = 10.0
CRASH_EXIT_CODE = 42


async def crash_loop(host: HostState, app: App, container: Container, life_s: float) -> None:
    """Let a container crash and restart until docker gives up or someone stops it.

    The pause before a restart doubles from 0.1 s, and is reset after a life of 10 s.
    The restart count goes up at the crash, before the pause.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        await host.clock.sleep(life_s)
        if _is_over(container):
            return
        container.finished_at = host.clock.now()
        container.exit_code = CRASH_EXIT_CODE
        if container.restart_count >= MAX_RESTARTS:
            container.state = RunState.EXITED
            host.write_journal("gave_up", app, id=container.id)
            return
        container.restart_count += 1
        container.state = RunState.RESTARTING
        if life_s >= STEADY_LIFE_S:
            pause_s = FIRST_PAUSE_S
        host.write_journal("crashed", app, id=container.id, restarts=container.restart_count)
        await host.clock.sleep(pause_s)
        pause_s *= 2
        if _is_over(container):
            return
        container.state = RunState.RUNNING
        container.exit_code = 0
        container.started_at = host.clock.now()
        container.starts.append(container.started_at)
        host.write_journal("restarted", app, id=container.id)


def _is_over(container: Container) -> bool:
    return container.state is RunState.EXITED or not container.exists
