"""Everything around the bot: Slack, Dokku, git repositories and a webhook receiver.

`open_simulators` starts them; `deploybot demo`, the benches and the scenarios use it.
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
from bot.simulators.troubles import Troubles

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoApp:
    """An app on the simulated Dokku, with its repository."""

    name: str
    behaviour: str
    """How its deploys go: a key of `behaviours.BEHAVIOURS`."""
    hint: str
    commits: Sequence[str]
    """Messages of the commits on `main`, oldest first; the last but one is live."""
    live: bool = True
    """False: the app was never deployed."""
    rules: str = ""
    """Lines of its table in `deploybot.toml`."""


APPS = (
    DemoApp(
        name="myapp",
        behaviour="ok",
        hint="succeeds",
        commits=("Start the app", "Greet people", "Fix the login redirect"),
    ),
    DemoApp(
        name="shop",
        behaviour="build_fails",
        hint="fails in the build; the old release keeps serving",
        commits=("Open the shop", "Sell books", "Upgrade all dependencies at once"),
    ),
    DemoApp(
        name="blog",
        behaviour="checks_fail",
        hint="fails its health check",
        commits=("Write a post", "Add a feed", "Move to another database"),
    ),
    DemoApp(
        name="billing",
        behaviour="ok",
        hint="waits until grace approves it",
        commits=("Send invoices", "Round to cents", "Add the new tax rate"),
        rules='approval = "second_person"\napprovers = ["S01RELEASE0"]  # @release-team',
    ),
)
HINTS = (
    *(f"/deploy {app.name} main" for app in APPS),
    "/deploy",
    "/deploy status",
    "/deploy history myapp",
    "/deploy lock myapp for 1h testing",
    "/deploy help",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulators:
    """The running simulators."""

    slack: SlackSimulator
    dokku: DokkuHost
    server: DokkuServer
    """The SSH server in front of `dokku`."""
    forge: Forge
    receiver: Receiver
    troubles: Troubles | None
    """What a visitor of the page can switch on; None without apps."""
    settings: Mapping[str, str]
    """The bot's environment variables, which point it at the simulators."""


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
    """Start Slack, Dokku, the repositories and the receiver. Raises OSError if the port is taken.

    Args:
        manifest: the Slack app's manifest.
        folder: where the bot runs: for its database, and its settings file if apps have rules.
        apps: what Dokku has; a live app serves its last but one commit.
        port: for Slack and its page; 0: any free port.
        speed: how many times faster than its recordings the simulated Dokku runs.
        mode: how Slack delivers; in HTTP mode call `slack.set_request_url` once the bot listens.
        version: the Dokku version.
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
                side_panel=lambda: received_webhooks(receiver),
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
        troubles = None
        if apps:
            troubles = Troubles(
                app=apps[0].name, slack=slack, dokku=host, server=server, forge=forge
            )
            stack.push_async_callback(troubles.aclose)
            slack.offer_troubles(troubles)
        if rules := [f"[apps.{app.name}]\n{app.rules}\n" for app in apps if app.rules]:
            (folder / "deploybot.toml").write_text("\n".join(rules))
        yield Simulators(
            slack=slack,
            dokku=host,
            server=server,
            forge=forge,
            receiver=receiver,
            troubles=troubles,
            settings={
                "SLACK_BOT_TOKEN": slack.bot_token,
                **_slack_secret(slack, mode),
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


def received_webhooks(receiver: Receiver) -> list[dict[str, Any]]:
    """Return the webhooks for the page's side panel, newest first."""
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


def _slack_secret(slack: SlackSimulator, mode: Mode) -> Mapping[str, str]:
    """Return the setting with which the bot receives events, as a choice of mode."""
    if mode == "socket":
        return {"SLACK_APP_TOKEN": slack.app_token}
    return {"SLACK_SIGNING_SECRET": slack.signing_secret}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
