"""What is live for an app now, for operators: from the history and the server, as in Slack."""

from collections.abc import Sequence
from dataclasses import replace

from bot.clock import SystemClock
from bot.config.loading import load_settings
from bot.deployments.app_names import AppNames
from bot.deployments.dokku_facts import Container
from bot.deployments.live.reader import LiveReader, LiveReport
from bot.deployments.model import Deployment
from bot.deployments.ports import Store
from bot.errors import ConfigError
from bot.operations.servers import AskedServers
from bot.slack.render.live_state import live_lines


async def look(store: Store, deployment: Deployment) -> LiveReport:
    """Ask the server of a deployment about its app. If that fails, the report says why."""
    settings = load_settings(complete=False)
    why: ConfigError | None = None
    try:
        settings = load_settings()
    except ConfigError as error:
        why = error  # an operator may have only the database
    servers = AskedServers(settings)
    reader = LiveReader(
        store=store,
        servers=servers,
        catalog=settings.catalog(),
        names=AppNames(servers=servers, clock=SystemClock()),
        timing=settings.timing(),
    )
    try:
        if why is not None:
            seen = await reader.read_history(deployment.app, deployment.target)
            return replace(seen, why=f"Its server cannot be asked from here: {why}")
        return await reader.read(deployment.app, deployment.target)
    finally:
        await servers.aclose()


def lines(seen: LiveReport) -> Sequence[str]:
    """A heading, and one sentence per line."""
    return [
        f"Live now, {seen.app} on {seen.server}:",
        *(f"  {one}" for one in live_lines(seen, now=SystemClock().now(), name_server=False)),
    ]


def as_json(seen: LiveReport) -> dict[str, object]:
    """The same as JSON; null for what is unproven or unknown."""
    state = seen.state
    listed = state.containers.listed if state.containers is not None else None
    return {
        "match": state.match.value,
        "sha": state.commit,
        "since": state.base.id if state.base else None,
        "according_to_dokku": state.according_to_dokku,
        "processes": None if listed is None else [_process(one) for one in listed],
        "last_good": state.last_good.id if state.last_good else None,
        "why": seen.why,
        "sentences": list(live_lines(seen, now=SystemClock().now(), name_server=False)),
    }


def _process(one: Container) -> dict[str, object]:
    return {"process": one.process, "state": one.state, "restarts": one.restarts}
