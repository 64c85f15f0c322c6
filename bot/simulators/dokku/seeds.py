"""Releases that were there before the story begins."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING

from bot.simulators.dokku.model import Nowhere
from bot.simulators.dokku.procedures import sync
from bot.simulators.dokku.runs import Run

if TYPE_CHECKING:
    from bot.simulators.dokku.app import App
    from bot.simulators.dokku.host import DokkuHost


def deploy_at_once(host: "DokkuHost", app: "App", sha: str) -> None:
    """Play a good first deploy of this commit in no time: same text, records and containers."""
    wanted, app.behaviour = app.behaviour, "ok"
    run = Run(host=host, app=app, output=Nowhere(), instant=True)
    run.record = host.new_record(app, kind="build", source="git:sync")
    _drive(sync(run, url=app.repo, ref="main", sha=sha))
    run.leave()
    app.behaviour = wanted


def _drive(steps: Coroutine[object, object, int]) -> None:
    """Run a coroutine that never has to wait. Raises RuntimeError when it does."""
    try:
        steps.send(None)
    except StopIteration:
        return
    steps.close()
    raise RuntimeError("an instant deploy had to wait")
