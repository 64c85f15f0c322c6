"""From an image to a live release: release, containers, checks, switch, post-deploy."""

from collections.abc import Mapping, Sequence

from bot.simulators.dokku.model import Container, Image, RunState, TaskFailed
from bot.simulators.dokku.recordings import (
    FAILED_TASK_COMMAND,
    NEWEST,
    TASK_FAILED,
    Line,
    between,
)
from bot.simulators.dokku.runs import Run

CHECKS_FAILED_EXIT = 1
SHORT_LIFE_S = 10.0


async def release(run: Run, *, skip: bool) -> bool:
    """Run the release phase. Returns False if the deployment is skipped."""
    run.finalizes = True
    name = "b_redeploy_ok" if run.app.deployed else "a_first_deploy_ok"
    lines = run.recorded(name, "deploy").lines
    if _fails(run, "predeploy"):
        await run.print(between(lines, "-----> Releasing", "No predeploy task found"))
        await _fail_task(run, "predeploy")
    await run.print(between(lines, "-----> Releasing", "-----> Deploying {{app}} via"))
    if skip:
        skipped = run.recorded("t_worker_zero_web_skip", "deploy_skip").lines
        await run.print(between(skipped, "-----> Skipping deployment", None))
        return False
    await run.print(between(lines, "-----> Deploying {{app}} via", "-----> Deploying {{type}}"))
    return True


async def start_processes(run: Run, image: Image, types: Sequence[str]) -> int:
    """Start, check and switch to new containers, one process type after another.

    Returns 0, or the exit status of the first that does not pass its checks.
    """
    for process_type in types:
        status = await _start_type(run, image, process_type)
        if status != 0:
            return status
    return 0


async def finish_release(run: Run, *, deployed: bool) -> None:
    """Run post-deploy and rename the containers.

    Args:
        run: the run.
        deployed: whether to print `Application deployed:` (restarts and scalings do not).
    """
    run.app.deployed = True
    await run.print(_proxy_lines(run, "-----> Running post-deploy", "-----> Renaming containers"))
    await _rename(run)
    lines = run.recorded("b_redeploy_ok", "deploy").lines
    if _fails(run, "postdeploy"):
        await run.print(between(lines, "-----> Checking for postdeploy", "No postdeploy task"))
        await _fail_task(run, "postdeploy")
    await run.print(between(lines, "-----> Checking for postdeploy", "-----> Shutting down old"))
    if run.replaced:
        await run.print(between(lines, "-----> Shutting down old", "=====> Application deployed"))
        run.retire()
    if deployed:
        await run.print(between(lines, "=====> Application deployed", None))


def _fails(run: Run, task: str) -> bool:
    return run.app.image is not None and run.app.image.failing_task == task


async def _fail_task(run: Run, task: str) -> None:
    await run.write("out", TASK_FAILED.format(task=task, command=FAILED_TASK_COMMAND).encode())
    raise TaskFailed(task)


async def _start_type(run: Run, image: Image, process_type: str) -> int:
    count = run.app.scale.get(process_type, 0)
    old = [one for one in run.app.listed.values() if one.process_type == process_type]
    await run.print(_heading(run, process_type), {"type": process_type, "count": count})
    if not run.app.checks_enabled and count:
        await _stop_first(run, process_type, old)
    new: list[Container] = []
    for index in range(1, count + 1):
        dyno = f"{process_type}.{index}"
        container, status = await _start_one(run, image, dyno, count)
        if status != 0:
            return status
        new.append(container)
    await _switch(run, process_type, new, old)
    return 0


def _heading(run: Run, process_type: str) -> tuple[Line, ...]:
    if process_type == "web":
        lines = run.recorded("b_redeploy_ok", "deploy").lines
        return between(lines, "-----> Deploying {{type}}", "Attempting pre-flight")
    lines = run.recorded("t_worker_zero_web_skip", "deploy_web_0").lines
    worker = between(lines, "Reloading nginx", "Attempting pre-flight")
    return between(worker, "-----> Deploying {{type}}", None)


async def _stop_first(run: Run, process_type: str, old: list[Container]) -> None:
    lines = run.recorded("u_crashloop", "deploy_checks_off").lines
    stopping = between(lines, "Zero downtime is disabled", "Scheduling old container")
    running = [one for one in old if one.state is not RunState.EXITED]
    if running:
        await run.print(stopping[:1], {"type": process_type})
    for container in running:
        await run.print(stopping[1:], {"type": process_type, "old_id": container.id})
        run.host.stop_container(run.app, container)


async def _start_one(run: Run, image: Image, dyno: str, count: int) -> tuple[Container, int]:
    process_type, _, index = dyno.rpartition(".")
    lines = _check_lines(run, image, process_type)
    started: list[Container] = []

    def start() -> None:
        started.append(run.start_container(image, dyno))

    values: dict[str, object] = {
        "type": process_type,
        "dyno": dyno,
        "count": count,
        "job": f"{process_type} {count} {index}",
        "rev": run.app.git_sha or "",
    }
    if run.app.checks_enabled:
        await run.print(lines[:1], values, on={"Attempting pre-flight": start})
    else:
        start()
    container = started[0]
    values |= {"id": container.id, "id12": container.id[:12]}
    replaces = dyno in run.app.listed
    if not run.app.checks_enabled:
        scheduling = lines if replaces else ()
        await run.print(scheduling, values)
        return container, 0
    if not image.healthy and process_type == "web":
        await run.print(lines[1:], values)
        run.host.stop_container(run.app, container)
        return container, CHECKS_FAILED_EXIT
    if process_type == image.exits_at_start:
        await run.print(between(lines, "-----> Executing", "Healthcheck succeeded"), values)
        failing = run.recorded("d_redeploy_healthcheck_fails", "deploy").lines
        await run.print(between(failing, "parallel: This job failed", None), values)
        run.host.stop_container(run.app, container)
        return container, CHECKS_FAILED_EXIT
    await run.print((one for one in lines[1:] if "Scheduling old" not in one.text), values)
    if replaces:
        await run.print((one for one in lines[1:] if "Scheduling old" in one.text), values)
    return container, 0


def _check_lines(run: Run, image: Image, process_type: str) -> tuple[Line, ...]:
    if not run.app.checks_enabled:
        lines = run.recorded("u_crashloop", "deploy_checks_off").lines
        return between(lines, "Scheduling old container", "=====> Triggering early")
    if process_type != "web":
        lines = run.recorded("t_worker_zero_web_skip", "deploy_web_0").lines
        return between(lines, "Attempting pre-flight", "-----> Running post-deploy")
    if not image.healthy:
        if run.source == "ps:restart":
            failing = run.recorded("p_ps_rebuild_restart_stop_start", "restart_bad_image").lines
        else:
            failing = run.recorded("d_redeploy_healthcheck_fails", "deploy").lines
        return between(failing, "Attempting pre-flight", None)
    if image.life_s is not None and image.life_s < SHORT_LIFE_S:
        lines = run.recorded("u_crashloop", "deploy_1s").lines
    else:
        lines = run.recorded("b_redeploy_ok", "deploy").lines
    end = "=====> Triggering early" if run.host.has_proxy else "-----> Running post-deploy"
    return between(lines, "Attempting pre-flight", end)


async def _switch(run: Run, process_type: str, new: list[Container], old: list[Container]) -> None:
    """Let the new containers serve: the point of no return."""

    def switch() -> None:
        for dyno in [one for one, c in run.app.listed.items() if c.process_type == process_type]:
            del run.app.listed[dyno]
        for container in new:
            run.app.listed[container.dyno] = container
            run.app.served_ids.add(container.id)
        run.host.write_journal(
            "switched", run.app, run=run.number, type=process_type, ids=[c.id for c in new]
        )

    if process_type == "web" and run.host.has_proxy:
        lines = _proxy_lines(run, "=====> Triggering early", "-----> Running post-deploy")
        await run.print(lines, on={"=====> Triggering early": switch})
    else:
        switch()
    for container in old:
        if container.dyno not in run.app.listed:
            orphans = run.recorded("x_config_scale_domains", "scale_down").lines
            scheduling = between(orphans, "Scheduling orphaned", "-----> Running post-deploy")
            await run.print(scheduling, {"dyno": container.dyno})
        run.replaced.append(container)


def _proxy_lines(run: Run, start: str, end: str) -> tuple[Line, ...]:
    """Choose the proxy's lines for a deploy with web containers, without, or for a first deploy."""
    if run.app.scale.get("web", 0) == 0 and run.record is None:
        lines = run.recorded("t_worker_zero_web_skip", "scale_web_0").lines
        if start == "=====> Triggering early":
            end = "Scheduling orphaned"
        return between(lines, start, end)
    if run.app.scale.get("web", 0) == 0:
        lines = run.recorded("t_worker_zero_web_skip", "deploy_web_0").lines
        if start == "=====> Triggering early":
            return between(lines, start, "-----> Deploying {{type}} (count={{count}})")
        return between(lines, start, end)
    first = not run.app.deployed
    lines = run.recorded("a_first_deploy_ok" if first else "b_redeploy_ok", "deploy").lines
    return between(lines, start, end)


async def _rename(run: Run) -> None:
    app = run.app
    lines = run.recorded("b_redeploy_ok", "deploy").lines
    await run.print(between(lines, "-----> Renaming containers", "Found previous"))
    found = between(lines, "Found previous", "Renaming container {{app}}.{{dyno}}.upcoming")
    renamed = between(lines, "Renaming container {{app}}.{{dyno}}.upcoming", "-----> Checking for")
    for dyno, container in sorted(app.listed.items()):
        name = f"{app.name}.{dyno}"
        holder = app.holder_of_name(name)
        if holder is not None:
            values = {"dyno": dyno, "old_id12": holder.id[:12]}
            await run.print(found, values)
            if holder is container:
                await _rename_back(run, values)
                continue
            holder.name = f"{name}.{int(run.host.clock.now().timestamp())}"
        values = {
            "dyno": dyno,
            "id": container.id,
            "id12": container.id[:12],
            "upcoming": container.name.rpartition("-")[2],
        }
        await run.print(renamed, values)
        run.host.write_journal("renamed", app, run=run.number, id=container.id)
        if container.state is RunState.RUNNING:
            container.name = name
        else:
            await _fail_to_rename(run, container, values)


async def _rename_back(run: Run, values: Mapping[str, object]) -> None:
    """An outside restart has already set the name. What 0.35 prints then is not recorded."""
    if run.host.version == NEWEST:
        back = run.recorded("j_second_deploy_while_running", "deploy").lines
        await run.print(between(back, ".{{unix}} (", "-----> Checking"), values)


async def _fail_to_rename(run: Run, container: Container, values: Mapping[str, object]) -> None:
    """Docker cannot rename a stopped container; Dokku continues and still exits with 0."""
    lines = run.recorded("u_crashloop", "deploy_checks_off").lines
    failing = between(
        lines, "Error response from daemon: sandbox", "-----> Checking for postdeploy"
    )
    more = {
        "sandbox": run.host.new_id(),
        "type": container.process_type,
        "rev": container.rev,
    }
    await run.print(failing, {**values, **more})
