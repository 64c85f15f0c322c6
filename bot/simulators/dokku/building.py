"""From the repository to an image: fetch, lock, docker build."""

from bot.simulators.dokku.behaviours import Behaviour
from bot.simulators.dokku.model import RunState
from bot.simulators.dokku.recordings import Line, between, host_of
from bot.simulators.dokku.refs import SHA, RefMissing, RepoUnreachable
from bot.simulators.dokku.runs import Run

GARBAGE = b"#8 \xff\xfe\x80 not \xc3 utf-8 \xe2\x82\n"


async def fetch(run: Run, sha: str | None = None) -> int | str:
    """Fetch the ref into the app's repository, which moves its head.

    Returns the SHA, or the exit status of a failed fetch. `sha`: use this commit, resolve nothing.
    """
    app = run.app
    first = app.git_sha is None
    source = run.recorded("a_first_deploy_ok" if first else "b_redeploy_ok", "deploy").lines
    await run.print(source[:1])
    refusal = app.outcome_of(None).refuses
    try:
        if refusal == "ref_missing":
            raise RefMissing  # noqa: TRY301 - the failure switch stands in for the repository
        if refusal is not None:
            raise RepoUnreachable(refusal)  # noqa: TRY301 - same
        found = sha or run.host.refs.resolve(run.url, run.ref)
    except RefMissing:
        run.choose(None)
        return await _print_failure(run, "g_ref_missing", "first_deploy" if first else "deploy")
    except RepoUnreachable as err:
        run.choose(None)
        return await _print_failure(run, "h_repo_missing", err.reason)
    await _print_what_moved(run, found)
    app.git_sha = found
    app.git_updated_unix = int(run.host.clock.now().timestamp())
    run.host.write_journal("fetched", app, run=run.number, sha=found)
    return found


async def _print_what_moved(run: Run, found: str) -> None:
    app = run.app
    if app.git_sha is None:
        if not SHA.fullmatch(run.ref):
            app.deploy_branch = run.ref
            first = run.recorded("a_first_deploy_ok", "deploy").lines
            await run.print(between(first, "Detected branch", "Cleaning up"))
        return
    try:
        remote = run.host.refs.resolve(run.url, app.deploy_branch or "main")
    except RefMissing:
        remote = found
    if remote != app.git_sha:
        lines = run.recorded("b_redeploy_ok", "deploy").lines
        moved = {"old7": app.git_sha[:7], "new7": remote[:7]}
        await run.print(between(lines, "From {{url_base}}", "Cleaning up"), moved)


async def _print_failure(run: Run, scenario: str, name: str) -> int:
    recorded = run.recorded(scenario, name)
    path = "/" + run.url.rpartition("/")[2]
    await run.print(recorded.lines[1:], {"repo_host": host_of(run.url), "repo_path": path})
    return recorded.exit_status


async def build(run: Run, sha: str) -> Behaviour | int:
    """Take the lock and build the commit's image.

    Returns how the deploy continues, or the exit status of a refusal or a failed build.
    """
    if not run.take_lock():
        refused = run.recorded("j_second_deploy_while_running", "second")
        await run.print(between(refused.lines, "deploy lock in place", None))
        return refused.exit_status
    behaviour = run.choose(sha)
    if run.host.docker_down:
        return await _build_without_docker(run)
    if behaviour.build == "fails":
        return await _fail_build(run)
    if behaviour.build == "docker_dies":
        return await _lose_docker(run)
    on = {
        "Cleaning up": lambda: remove_exited(run),
        "naming to docker.io": lambda: _tag(run, sha, behaviour),
    }
    lines = _build_lines(run, behaviour)
    begin = between(lines, None, "build step 2/") if behaviour.build != "cached" else lines
    await run.print(begin, _ids(run), on=on)
    await _misbehave(run, behaviour)
    await run.print(lines[len(begin) :], _ids(run), on=on)
    return behaviour


def _build_lines(run: Run, behaviour: Behaviour) -> tuple[Line, ...]:
    if behaviour.build == "cached":
        recorded = run.recorded("f_noop_same_commit", "deploy_again")
    elif run.app.deployed:
        recorded = run.recorded("b_redeploy_ok", "deploy")
    else:
        recorded = run.recorded("a_first_deploy_ok", "deploy")
    return between(recorded.lines, "Cleaning up", "-----> Releasing")


async def _misbehave(run: Run, behaviour: Behaviour) -> None:
    if behaviour.build == "silent":
        await run.pause(behaviour.silence_s)
    elif behaviour.build == "flood":
        line = b"#8 1.181 build step 2/8 of version 2\n"
        block = line * (100_000 // len(line))
        for _ in range(behaviour.flood_bytes // len(block)):
            await run.write("out", block)
    elif behaviour.build == "no_newline":
        for _ in range(behaviour.flood_bytes // 50_000):
            await run.write("out", b"." * 50_000)
    elif behaviour.build == "garbage":
        await run.write("out", GARBAGE * 20)


async def _fail_build(run: Run) -> int:
    kept = run.app.image is not None
    name = "c_redeploy_build_fails" if kept else "e_first_deploy_build_fails"
    recorded = run.recorded(name, "deploy")
    on = {"Cleaning up": lambda: remove_exited(run)}
    await run.print(between(recorded.lines, "Cleaning up", None), _ids(run), on=on)
    return recorded.exit_status


async def _lose_docker(run: Run) -> int:
    scenario = "n2_dockerd_killed_mid_build"
    recorded = run.recorded(scenario, "deploy")
    lines = between(recorded.lines, "Cleaning up", "Retagging old image")
    if run.app.image is not None:
        lines += between(recorded.lines, "Retagging old image", None)
    else:
        without = run.recorded(scenario, "deploy_while_down").lines
        lines += between(without, "Removing invalid image tag", None)
    on = {"failed to receive status": run.host.kill_docker_for_test}
    await run.print(lines, _ids(run), on=on)
    return recorded.exit_status


async def _build_without_docker(run: Run) -> int:
    recorded = run.recorded("n2_dockerd_killed_mid_build", "deploy_while_down")
    await run.print(between(recorded.lines, "Cleaning up", None), _ids(run))
    return recorded.exit_status


def remove_exited(run: Run) -> None:
    """Remove the app's exited containers, as each build does at its start."""
    for container in run.app.containers:
        if container.exists and container.state is RunState.EXITED:
            container.exists = False
            run.host.write_journal("container_removed", run.app, id=container.id)


def _tag(run: Run, sha: str, behaviour: Behaviour) -> None:
    run.app.image = run.host.image_of(run.app, sha, behaviour)
    run.host.write_journal("image_tagged", run.app, run=run.number, sha=sha, image=run.app.image.id)


def _ids(run: Run) -> dict[str, object]:
    old = run.app.image.id[:12] if run.app.image else ""
    return {"layer": run.host.new_id(), "old_image12": old, "older_image12": old}
