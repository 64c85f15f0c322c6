"""The simulated Dokku host: create apps, deploy outside the bot, kill processes."""

import asyncio
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Self

from bot.simulators.dokku import procedures
from bot.simulators.dokku.app import App
from bot.simulators.dokku.behaviours import BEHAVIOURS
from bot.simulators.dokku.host_state import HostState
from bot.simulators.dokku.model import LiveProcess, Nowhere
from bot.simulators.dokku.recordings import NEWEST, load
from bot.simulators.dokku.refs import HashedRefs, Refs
from bot.simulators.dokku.replay import Recording, Replay
from bot.simulators.dokku.runs import Run


class DokkuHost(HostState):
    """A server with Dokku on it, without the SSH server in front (`sshd.open_dokku`).

    Test-only controls end in `_for_test`, here and in `HostState`.

    Args:
        speed: how many times faster than the recordings it runs.
        refs: where `git:sync` finds commits; by default any ref exists everywhere.
        version: which recordings it answers from: `0.38.27`, or `0.35.20`, which keeps no build
            records, prints builds on stderr, removes its lock file when a build fails, and of
            which little more than the plain deploys is recorded.
        seed: for the ids and process numbers that it generates.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        refs: Refs | None = None,
        version: str = NEWEST,
        seed: int = 7,
    ) -> None:
        super().__init__(speed=speed, refs=refs or HashedRefs(), version=version, seed=seed)
        self.answer_delays_s: dict[str, float] = {}
        """Real seconds before a command starts, by its first word; "": all others."""
        self.replays: dict[str, Replay] = {}
        """The recordings that apps play, by app name; any other app follows the model."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def create_app(
        self,
        name: str,
        *,
        deployed_sha: str | None = None,
        behaviour: str = "ok",
        repo: str = "",
        scale: Mapping[str, int] | None = None,
    ) -> App:
        """Create an app; with `deployed_sha` a good release of that commit already serves.

        Raises KeyError if BEHAVIOURS has no such behaviour.
        """
        app = App(
            name=name,
            created_unix=int(self.clock.now().timestamp()),
            repo=repo or f"https://git.example/acme/{name}.git",
            behaviour=behaviour,
            scale=dict(scale or {"web": 1}),
        )
        if behaviour not in BEHAVIOURS:
            raise KeyError(behaviour)
        self.apps[name] = app
        if deployed_sha is not None:
            self._deploy_at_once(app, deployed_sha)
        self.write_journal("app_created", app)
        return app

    def replay(self, recording: Recording) -> App:
        """Create the app of a recording, whose deploys go as they were recorded."""
        deploy = load(self.version, recording.scenario)[recording.deploys[0]]
        name, url = [word for word in deploy.argv[1:] if not word.startswith("--")][:2]
        deployed_sha = None if recording.first else "0" * 40
        app = self.create_app(name, deployed_sha=deployed_sha, repo=url)
        self.replays[name] = Replay(self, app, recording)
        self.replays[name].begin()
        return app

    def live(self, name: str) -> Mapping[str, LiveProcess]:
        """Return what really serves, by `TYPE.N`; empty if nothing does."""
        return self.apps[name].live()

    def outside_push_for_test(self, name: str, sha: str) -> asyncio.Task[object]:
        """Deploy as another user does with `git push`: in the background, source `git-hook`."""
        app = self.apps[name]
        run = Run(host=self, app=app, output=Nowhere())
        run.record = self.new_record(app, kind="build", source="git-hook")
        return self.spawn(run.execute(procedures.push(run, sha)))

    def delay_answers_for_test(self, seconds: float, command: str = "") -> None:
        """Let every command, or only one, wait this many real seconds before it starts."""
        self.answer_delays_s[command] = seconds

    def kill_dokku_for_test(self, name: str) -> None:
        """Kill (-9) all Dokku processes that work on the app."""
        for run in list(self.apps[name].runs):
            run.stop("killed")

    def _deploy_at_once(self, app: App, sha: str) -> None:
        """Play a good first deploy in no time: same text, records and containers."""
        behaviour, app.behaviour = app.behaviour, "ok"
        run = Run(host=self, app=app, output=Nowhere(), instant=True)
        run.record = self.new_record(app, kind="build", source="git:sync")
        _finish_at_once(procedures.sync(run, url=app.repo, ref="main", sha=sha))
        run.leave()
        app.behaviour = behaviour


def _finish_at_once(steps: Coroutine[object, object, int]) -> None:
    """Run a coroutine that never has to wait. Raises RuntimeError if it does."""
    try:
        steps.send(None)
    except StopIteration:
        return
    steps.close()
    raise RuntimeError("an instant deploy had to wait")
