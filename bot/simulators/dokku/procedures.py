"""The steps of the long commands (`git:sync`, `ps:rebuild`, ...). Each returns its exit status."""

from collections.abc import Mapping

from bot.simulators.dokku.building import build, fetch
from bot.simulators.dokku.model import Image
from bot.simulators.dokku.recordings import between
from bot.simulators.dokku.releasing import finish_release, release, start_processes
from bot.simulators.dokku.runs import Run

RECORD_TO_EXIT_S = 0.2


async def sync(run: Run, *, url: str, ref: str, mode: str = "build", sha: str | None = None) -> int:
    """Run `git:sync`: fetch, and with `build` or `if_changes` build and deploy.

    `sha`: use this commit and resolve nothing, for releases from before the test.
    """
    run.url, run.ref = url, ref
    before = run.app.git_sha
    fetched = await fetch(run, sha)
    if isinstance(fetched, int):
        return fetched
    if mode == "none":
        return 0
    if mode == "if_changes" and fetched == before:
        skipped = run.recorded("f_noop_same_commit", "build_if_changes").lines
        await run.print(between(skipped, "Skipping build as no changes", None))
        return 0
    status = await receive(run, fetched)
    if status == 0:
        run.app.deploy_source = "git-sync"
        run.app.deploy_source_metadata = f"{url}#{fetched}"
        await _end(run)
    return status


async def push(run: Run, sha: str) -> int:
    """Receive another user's `git push` of this commit."""
    run.app.git_sha = sha
    run.app.deploy_branch = run.app.deploy_branch or "main"
    status = await receive(run, sha)
    if status == 0:
        run.app.deploy_source = "git-push"
        run.app.deploy_source_metadata = sha
        await _end(run)
    return status


async def rebuild(run: Run) -> int:
    """Run `ps:rebuild`: build and deploy the head of the app's repository."""
    if run.app.lock_holder is not None:
        run.take_lock()
        refused = run.recorded("j_second_deploy_while_running", "rebuild")
        text = refused.stdout.replace("web currently", f"{run.app.name} currently")
        await run.write("out", text.encode())
        return refused.exit_status
    return await receive(run, run.app.git_sha or "")


async def receive(run: Run, sha: str) -> int:
    """Build a commit under the lock, and deploy it."""
    behaviour = await build(run, sha)
    if isinstance(behaviour, int):
        return behaviour
    image = run.app.image
    if image is None:
        raise RuntimeError("a good build tags an image")
    skip = behaviour.skip_deploy or run.app.skip_deploy
    return await deploy(run, image, skip=skip)


async def deploy(run: Run, image: Image, *, skip: bool = False) -> int:
    """Release an image and start its containers."""
    if await release(run, skip=skip):
        status = await start_processes(run, image, list(run.app.scale))
        if status != 0:
            run.finalize("failed", status)
            return status
        await finish_release(run, deployed=True)
    run.finalize("succeeded", 0)
    await run.pause(RECORD_TO_EXIT_S)
    return 0


async def restart(run: Run) -> int:
    """Run `ps:restart`: new containers of the tagged image; its record is never finished."""
    status = await start_processes(run, _tagged(run), list(run.app.scale))
    if status != 0:
        return status
    await finish_release(run, deployed=False)
    return 0


async def start(run: Run) -> int:
    """Run `ps:start` of a stopped app."""
    recorded = run.recorded("p_ps_rebuild_restart_stop_start", "start").lines
    await run.print(recorded[:1])
    run.app.restore = True
    run.record = run.host.new_record(run.app, kind="deploy", source="deploy")
    status = await deploy(run, _tagged(run))
    if status == 0:
        after = between(recorded, "http://", None)
        await run.print(between(after, "-----> Ensuring network", None))
    return status


async def redeploy_config(run: Run) -> int:
    """Restart an app after `config:set`; takes no lock."""
    lines = run.recorded("x_config_scale_domains", "config_set").lines
    await run.print(between(lines, "-----> Restarting app", "-----> Releasing"))
    run.record = run.host.new_record(run.app, kind="deploy", source="config-redeploy")
    return await deploy(run, _tagged(run))


async def rescale(run: Run, changed: Mapping[str, int]) -> int:
    """Run `ps:scale` of a deployed app: no record, no lock, new containers for each type."""
    image = _tagged(run)
    status = await start_processes(run, image, list(changed))
    if status == 0:
        await finish_release(run, deployed=False)
    return status


def _tagged(run: Run) -> Image:
    if run.app.image is None:
        raise RuntimeError(f"{run.app.name} has no image")
    return run.app.image


async def _end(run: Run) -> None:
    run.host.write_journal(
        "metadata_set", run.app, run=run.number, metadata=run.app.deploy_source_metadata
    )
    await run.pause(RECORD_TO_EXIT_S)
