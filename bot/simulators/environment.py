"""Everything around the bot: a Slack, a Dokku, the repositories and a webhook receiver.

`deploybot demo` and the benches run the bot on it.
"""

import base64
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.recordings import NEWEST
from bot.simulators.dokku.sshd import USER, DokkuServer, open_dokku
from bot.simulators.forge import Forge, open_forge
from bot.simulators.receiver import Receiver, open_receiver
from bot.simulators.slack.simulator import Mode, SlackSimulator, open_slack

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoApp:
    """An app to play with."""

    name: str
    behaviour: str
    """How its deploys go, in the simulated Dokku's words."""
    hint: str
    commits: Sequence[str]
    """Of its main branch, oldest first; the one before the last is live."""
    live: bool = True
    """False: it was never deployed."""


APPS = (
    DemoApp(
        name="myapp",
        behaviour="ok",
        hint="deploys well",
        commits=("Start the app", "Greet people", "Fix the login redirect"),
    ),
    DemoApp(
        name="shop",
        behaviour="build_fails",
        hint="its build fails while the old release keeps serving",
        commits=("Open the shop", "Sell books", "Upgrade all dependencies at once"),
    ),
    DemoApp(
        name="blog",
        behaviour="checks_fail",
        hint="its health check fails",
        commits=("Write a post", "Add a feed", "Move to another database"),
    ),
)
HINTS = (
    *(f"/deploy {app.name} main" for app in APPS),
    "/deploy",
    "/deploy status",
    "/deploy history myapp",
    "/deploy help",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulators:
    """Everything around the bot, running."""

    slack: SlackSimulator
    dokku: DokkuHost
    server: DokkuServer
    """Its SSH side."""
    forge: Forge
    receiver: Receiver
    settings: Mapping[str, str]
    """The bot's environment variables."""


@asynccontextmanager
async def open_simulators(
    *,
    manifest: Mapping[str, Any],
    folder: Path,
    apps: Sequence[DemoApp] = APPS,
    port: int = 0,
    speed: float = 1.0,
    mode: Mode = "socket",
    version: str = NEWEST,
) -> AsyncIterator[Simulators]:
    """Start Slack, Dokku, the repositories and the receiver. OSError: the port is taken.

    An app that is live has an older commit live. `folder` is for the bot's database, `speed` is
    how many times faster than its recordings the simulated Dokku works, `version` which Dokku it
    is. In HTTP mode Slack learns where the bot listens by `slack.set_request_url`.
    """
    webhook_secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(open_receiver(secret=webhook_secret))
        slack = await stack.enter_async_context(
            open_slack(
                manifest=manifest,
                port=port,
                mode=mode,
                hints=HINTS,
                side_panel=lambda: panel(receiver),
            )
        )
        receiver.on_received.append(slack.notify_page)
        forge = await stack.enter_async_context(
            open_forge(
                repos={app.name: app.commits[:-1] if app.live else app.commits for app in apps}
            )
        )
        host = DokkuHost(speed=speed, refs=forge, version=version)
        for app in apps:
            host.create_app(
                app.name,
                deployed_sha=forge.sha(app.name) if app.live else None,
                behaviour=app.behaviour,
                repo=forge.url(app.name),
            )
            if app.live:
                forge.commit(app.name, app.commits[-1])
        server = await stack.enter_async_context(open_dokku(host))
        yield Simulators(
            slack=slack,
            dokku=host,
            server=server,
            forge=forge,
            receiver=receiver,
            settings={
                "SLACK_BOT_TOKEN": slack.bot_token,
                **_way_in(slack, mode),
                "SLACK_API_URL": slack.api_url,
                "DOKKU_HOST": LOOPBACK,
                "DOKKU_PORT": str(server.port),
                "DOKKU_USER": USER,
                "DOKKU_SSH_KEY": server.client_key_pem,
                "DOKKU_KNOWN_HOSTS": server.known_hosts,
                "DEPLOYBOT_REPO_TEMPLATE": forge.url("{app}"),
                "DATABASE_URL": f"sqlite:///{folder / 'deploybot.db'}",
                "DEPLOYBOT_WEBHOOK_URL": receiver.url,
                "DEPLOYBOT_WEBHOOK_SECRET": webhook_secret,
                "DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE": "true",
                "DEPLOYBOT_BIND": LOOPBACK,
                "DEPLOYBOT_DRAIN_TIMEOUT": "1s",
                "PORT": str(_free_port()),
            },
        )


def panel(receiver: Receiver) -> list[dict[str, Any]]:
    """What the page's side panel shows: the webhooks that came in, newest first."""
    return [
        {
            "time": one.at.strftime("%H:%M:%S"),
            "type": one.body.get("type", "?"),
            "status": one.body.get("data", {}).get("status", "?"),
            "app": one.body.get("data", {}).get("app", "?"),
            "verified": one.genuine,
            "body": one.body,
        }
        for one in reversed(receiver.received)
    ]


def _way_in(slack: SlackSimulator, mode: Mode) -> Mapping[str, str]:
    """How the bot hears of what people do."""
    if mode == "socket":
        return {"SLACK_APP_TOKEN": slack.app_token}
    return {"SLACK_SIGNING_SECRET": slack.signing_secret}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
