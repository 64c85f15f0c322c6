"""A fake server with several apps, each with its own script."""

from collections.abc import Mapping, Sequence

from bot.deployments.dokku_facts import AppReport, BuildRecord, Containers, LogEnd
from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream, Dokku, MaySend
from tests.support.fake_dokku import FakeDokku


class DokkuOfApps(Dokku):
    """Passes each query to the fake of its app."""

    def __init__(self, *names: str) -> None:
        self.of = {name: FakeDokku() for name in names}

    def begun(self) -> set[str]:
        """Apps whose deploy command was started and has not ended."""
        return {
            name for name, app in self.of.items() if any(not stream.ended for stream in app.streams)
        }

    async def keeps_records(self) -> bool:
        return True

    async def apps(self) -> Sequence[str]:
        return list(self.of)

    async def builds(self, app: str) -> Sequence[BuildRecord]:
        return await self.of[app].builds(app)

    async def report(self, app: str) -> AppReport:
        return await self.of[app].report(app)

    async def containers(self, app: str) -> Containers | None:
        return await self.of[app].containers(app)

    async def app_log(self, app: str, process: str) -> Sequence[str]:
        return await self.of[app].app_log(app, process)

    async def fetched_sha(self, app: str) -> str | None:
        return await self.of[app].fetched_sha(app)

    async def deploy_branch(self, app: str) -> str | None:
        return await self.of[app].deploy_branch(app)

    async def build_output(self, app: str, build_id: str) -> tuple[Sequence[str], LogFacts]:
        return await self.of[app].build_output(app, build_id)

    async def log_end(self, app: str, build_id: str) -> LogEnd:
        return await self.of[app].log_end(app, build_id)

    async def facts_of(self, app: str, lines: Sequence[str]) -> LogFacts:
        return await self.of[app].facts_of(app, lines)

    async def cancel_build(self, app: str, *, may_send: MaySend | None = None) -> bool:
        return await self.of[app].cancel_build(app, may_send=may_send)

    async def deploy(
        self, app: str, repo: str, pinned: str, *, may_send: MaySend | None = None
    ) -> DeployStream:
        return await self.of[app].deploy(app, repo, pinned, may_send=may_send)

    async def run_detached(
        self, app: str, repo: str, pinned: str, *, runner: str, may_send: MaySend | None = None
    ) -> str:
        return await self.of[app].run_detached(app, repo, pinned, runner=runner, may_send=may_send)

    async def one_offs(self, runner: str) -> Mapping[str, str]:
        return await next(iter(self.of.values())).one_offs(runner)

    async def build_head(self, app: str, build_id: str) -> str | None:
        return await self.of[app].build_head(app, build_id)

    async def follow(self, app: str, build_id: str, seen: Sequence[str]) -> DeployStream:
        return await self.of[app].follow(app, build_id, seen)
