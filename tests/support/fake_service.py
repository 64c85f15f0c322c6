"""A Service without queue, store and Dokku: it keeps what it was asked, and posts like ours."""

from collections.abc import Sequence
from dataclasses import replace

from ulid import ULID

from bot.deployments.dokku_facts import Containers
from bot.deployments.live.compare import Facts, stand
from bot.deployments.live.reader import Seen
from bot.deployments.live.rollback import by_hand, check_commit, go_back
from bot.deployments.model import (
    Actor,
    AppPolicy,
    Deployment,
    MessagePlace,
    Phase,
    Progress,
    Trigger,
)
from bot.deployments.requests.queries import SHORTEST_ID
from bot.deployments.requests.service import Request, Service
from bot.deployments.requests.validate import closest
from bot.deployments.states import ENDINGS
from bot.errors import Declined
from bot.names import check_app, check_ref
from bot.slack.client import SlackClient
from bot.slack.render.deployment import render
from tests.support.builders import NOW, a_deployment

APPS = ("myapp", "shop")


class FakeService(Service):
    """What listeners talk to. `requests` and `cancels` are what came through."""

    def __init__(self, client: SlackClient) -> None:
        self.home_team = None
        self.client = client
        self.requests: list[Request] = []
        self.cancels: list[tuple[str, Actor, str]] = []
        self.rows: dict[str, Deployment] = {}
        self.progress: dict[str, Progress] = {}
        self.logs: dict[str, str] = {}
        self.keys: set[str] = set()
        self.apps: Sequence[str] = APPS
        self.broken = False
        self.now: Containers | None = None
        """What the containers of every app show; None: they cannot be read."""
        self.why: str | None = None

    def known(self, deployment: Deployment, log: str = "") -> Deployment:
        """Put a deployment into the repository."""
        self.rows[deployment.id] = deployment
        self.logs[deployment.id] = log
        return deployment

    async def request(self, ask: Request) -> Deployment | None:
        if self.broken:
            raise ZeroDivisionError("a bug with the secret 4242 in it")
        check_app(ask.app)
        if ask.actor.team != self.home_team:
            raise Declined("Only people of this bot's own workspace may do that.")
        if ask.app not in self.apps:
            raise Declined(f"There is no app {ask.app}." + closest(ask.app, self.apps))
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
        shown = render(deployment, Progress(), now=NOW)
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

    async def rollback(
        self, deployment_id: str, *, actor: Actor, trigger: Trigger, request_key: str, channel: str
    ) -> Deployment | None:
        old = self.rows[deployment_id]
        return await self.request(
            Request(
                app=old.app,
                ref=old.rollback_sha,
                server=old.server,
                actor=actor,
                trigger=trigger,
                request_key=request_key,
                channel=channel,
                rollback_of=old.id,
            )
        )

    async def rollback_app(
        self,
        app: str,
        commit: str | None,
        *,
        server: str | None,
        actor: Actor,
        trigger: Trigger,
        request_key: str,
        channel: str,
    ) -> Deployment | None:
        rows = await self.history(app, server=server, limit=100)
        if not rows:
            raise Declined(f"No deployment of `{app}` is known.")
        if len({one.server for one in rows}) > 1:
            raise Declined(f"Where? Say `{app} on SERVER`.")
        standing = stand(Facts(started=rows))
        if commit is None:
            target = go_back(app, standing)
        else:
            given = check_commit(app, commit)
            found = [one for one in rows if (one.sha or "").startswith(given)]
            target = by_hand(app, given, found, standing)
        return await self.request(
            Request(
                app=app,
                ref=target.sha,
                server=server,
                actor=actor,
                trigger=trigger,
                request_key=request_key,
                channel=channel,
                rollback_of=target.of.id,
            )
        )

    async def standing(self, app: str, *, server: str | None = None) -> Sequence[Seen]:
        rows = await self.history(app, server=server, limit=100)
        if not rows:
            raise Declined(f"There is no app {app}.")
        unfinished = [one for one in rows if one.phase not in ENDINGS]
        facts = Facts(started=rows, unfinished=unfinished, containers=self.now)
        return [Seen(server=rows[0].server, app=app, standing=stand(facts), why=self.why)]

    async def find_by_id(self, word: str) -> Deployment | None:
        found = [one for one in self.rows.values() if one.id.startswith(word.upper())]
        return found[0] if len(word) >= SHORTEST_ID and found else None

    async def find(self, word: str, *, server: str | None = None) -> Deployment:
        found = [
            one
            for one in self.rows.values()
            if (one.id.startswith(word.upper()) or one.app == word) and server in {None, one.server}
        ]
        if not found:
            raise Declined(f"No deployment of `{word}` is known.")
        running = [one for one in found if one.phase not in ENDINGS]
        return (running or found)[-1]

    async def get(self, deployment_id: str) -> Deployment | None:
        return self.rows.get(deployment_id)

    async def at_message(self, channel: str, ts: str) -> Deployment | None:
        places = ((one, one.message) for one in self.rows.values())
        return next(
            (one for one, at in places if at and (at.channel, at.ts) == (channel, ts)), None
        )

    async def history(
        self, app: str, *, server: str | None = None, limit: int = 10
    ) -> Sequence[Deployment]:
        found = [
            one
            for one in reversed(self.rows.values())
            if one.app == app and server in {None, one.server}
        ]
        return found[:limit]

    async def unfinished(self) -> Sequence[Deployment]:
        return [one for one in self.rows.values() if one.phase not in ENDINGS]

    async def known_apps(self) -> Sequence[AppPolicy]:
        return [AppPolicy(server="production", app=app, dokku_app=app) for app in self.apps]

    def policy(self, app: str, server: str | None = None) -> AppPolicy:
        if server not in {None, "production", "staging"}:
            raise Declined(f"There is no server {server}.")
        return AppPolicy(server=server or "production", app=app, dokku_app=app)

    def server_names(self) -> Sequence[str]:
        return ("production", "staging")

    async def log(self, deployment_id: str) -> str:
        return self.logs.get(deployment_id, "")

    def snapshot(self, deployment: Deployment) -> tuple[Deployment, Progress]:
        newest = self.rows.get(deployment.id, deployment)
        return newest, self.progress.get(deployment.id, Progress())
