"""`ps:*` and `checks:*`: processes and their containers."""

import json
from typing import Any

from bot.simulators.dokku import procedures
from bot.simulators.dokku.app import App
from bot.simulators.dokku.clock import stamp_ns
from bot.simulators.dokku.commands import reports
from bot.simulators.dokku.commands.shared import Unmodelled, find_app, put, take_format
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Container, Output, RunState
from bot.simulators.dokku.recordings import Step, render, step
from bot.simulators.dokku.runs import Run

MASK = "XXXXXX"
UNMASKED = ("CACHE_PATH=", "DOCKER_", "DOKKU_", "DYNO=", "PATH=", "PORT=", "USER=")
NEVER = "0001-01-01T00:00:00Z"


async def report(host: DokkuHost, words: list[str], output: Output) -> int:
    """Report an app's processes as a table, as JSON or as one value."""
    form, rest = take_format(words)
    app = find_app(host, rest)
    values = reports.ps_values(host, app)
    flags = [word for word in rest if word.startswith("--")]
    if flags:
        value = reports.flag(host, "ps", values, flags[0])
        if value is None:
            raise Unmodelled(f"ps:report {flags[0]}")
        await put(output, out=value + "\n")
    elif form == "json":
        await put(output, out=reports.as_json(host, "ps", values))
    else:
        await put(output, out=reports.as_text(host, "ps", app, values))
    return 0


async def inspect(host: DokkuHost, words: list[str], output: Output) -> int:
    """Print docker's report of the listed containers."""
    status, out, err = _inspected(host, find_app(host, words))
    await put(output, out=out, err=err)
    return status


def _inspected(host: DokkuHost, app: App) -> tuple[int, str, str]:
    """Return exit status, stdout and stderr of `ps:inspect`: docker's report of the containers.

    No container: exit 1, nothing on stdout. Some containers gone: exit 1 and the remaining ones.
    """
    listed = [one for _, one in sorted(app.listed.items())]
    if not listed:
        never = step(host.version, "inspect_a_redeploy", "never_deployed")
        return never.exit_status, never.stdout, never.stderr
    if host.docker_down:
        down = step(host.version, "n2_dockerd_killed_mid_build", "logs_while_down")
        return 1, "[]\n", down.stdout
    there = [_object(host, app, one) for one in listed if one.exists]
    gone = [one for one in listed if not one.exists]
    stdout = json.dumps(there, indent=4) + "\n" if there else "[]\n"
    if not gone:
        return 0, stdout, ""
    missing = step(host.version, "inspect_d_crash_loops", "missing")
    return missing.exit_status, stdout, _missing_text(missing, gone)


def _missing_text(missing: Step, gone: list[Container]) -> str:
    first, second, _ = missing.stderr.split("\n", 2)
    recorded = first.rpartition(" ")[2]
    plain = "".join(first.replace(recorded, one.id) + "\n" for one in gone)
    marked = second.replace(recorded, gone[0].id) + "\n"
    rest = "".join(first.replace(recorded, one.id) + "\n" for one in gone[1:])
    return plain + marked + rest + "\n"


def _object(host: DokkuHost, app: App, container: Container) -> dict[str, Any]:
    text = step(host.version, "inspect_a_redeploy", "inspect").stdout
    recorded = json.loads(text)[0]
    text = (
        text.replace(recorded["Id"], container.id)
        .replace(recorded["Id"][:12], container.id[:12])
        .replace(recorded["Image"], f"sha256:{container.image.id}")
        .replace(recorded["Config"]["Labels"]["com.dokku.app-name"], app.name)
    )
    found: dict[str, Any] = json.loads(text)[0]
    process_type = container.process_type
    found["Args"] = [process_type]
    found["Name"] = f"/{container.name}"
    found["Created"] = stamp_ns(container.created_at)
    found["RestartCount"] = container.restart_count
    found["Config"]["Cmd"] = ["/bin/labweb", process_type]
    found["Config"]["Env"] = _environment(container)
    found["Config"]["Labels"]["com.dokku.dyno"] = container.dyno
    found["Config"]["Labels"]["com.dokku.process-type"] = process_type
    found["State"] |= _state(container)
    return found


def _state(container: Container) -> dict[str, Any]:
    running = container.state is RunState.RUNNING
    finished = container.finished_at
    return {
        "ExitCode": container.exit_code,
        "FinishedAt": stamp_ns(finished) if finished else NEVER,
        "Pid": int(container.id[:4], 16) + 1000 if running else 0,
        "Restarting": container.state is RunState.RESTARTING,
        "Running": container.state in {RunState.RUNNING, RunState.RESTARTING},
        "StartedAt": NEVER
        if container.state is RunState.CREATED
        else stamp_ns(container.started_at),
        "Status": container.state.value,
    }


def _environment(container: Container) -> list[str]:
    own = [f"{key}={value}" for key, value in sorted(container.env.items())]
    every = [*own, f"GIT_REV={container.rev}", f"DYNO={container.dyno}", "PORT=5000", "PATH=/bin"]
    return [one if one.startswith(UNMASKED) else _masked(one) for one in every]


def _masked(pair: str) -> str:
    return f"{pair.partition('=')[0]}={MASK}"


async def restart(host: DokkuHost, words: list[str], output: Output) -> int:
    """Replace the containers by new ones of the tagged image; takes no lock."""
    app = find_app(host, words)
    if not app.deployed:
        raise Unmodelled("ps:restart of an app that was never deployed")
    run = Run(host=host, app=app, output=output)
    run.record = host.new_record(app, kind="deploy", source="ps:restart")
    return await run.execute(procedures.restart(run))


async def rebuild(host: DokkuHost, words: list[str], output: Output) -> int:
    """Build and deploy the head of the app's repository again."""
    app = find_app(host, words)
    if app.git_sha is None:
        raise Unmodelled("ps:rebuild of an app without code")
    run = Run(host=host, app=app, output=output)
    run.record = host.new_record(app, kind="build", source="ps:rebuild")
    return await run.execute(procedures.rebuild(run))


async def stop(host: DokkuHost, words: list[str], output: Output) -> int:
    """Stop all containers, and keep them stopped."""
    app = find_app(host, words)
    lines = _recorded(host, "p_ps_rebuild_restart_stop_start", "stop").lines
    await put(output, out=lines[0].render({"app": app.name}))
    await host.clock.sleep(2.0)
    app.restore = False
    for container in app.listed.values():
        host.stop_container(app, container)
    return 0


async def start(host: DokkuHost, words: list[str], output: Output) -> int:
    """Start a stopped app, as a new release."""
    app = find_app(host, words)
    up = [one for one in app.listed.values() if one.state is not RunState.EXITED]
    if up or not app.deployed:
        raise Unmodelled("ps:start of an app that is not stopped")
    run = Run(host=host, app=app, output=output)
    return await run.execute(procedures.start(run))


async def scale(host: DokkuHost, words: list[str], output: Output) -> int:
    """Show or set how many containers each process type has."""
    app = find_app(host, words)
    wanted = [word.partition("=") for word in words[1:]]
    if not wanted:
        head = f"-----> Scaling for {app.name}\nproctype: qty\n--------: ---\n"
        rows = "".join(f"{name}:  {count}\n" for name, count in sorted(app.scale.items()))
        await put(output, out=head + rows)
        return 0
    if any(not count.isdigit() for _, _, count in wanted):
        raise Unmodelled(f"ps:scale {words}")
    changed = {name: int(count) for name, _, count in wanted}
    app.scale |= changed
    new_scale = " ".join(f"{name}={count}" for name, count in changed.items())
    line = _recorded(host, "x_config_scale_domains", "scale_up").lines[0]
    await put(output, out=line.render({"app": app.name, "scale": new_scale}))
    if not app.deployed:
        return 0
    run = Run(host=host, app=app, output=output)
    return await run.execute(procedures.rescale(run, changed))


async def set_property(host: DokkuHost, words: list[str], output: Output) -> int:
    """Set or unset `skip-deploy`."""
    app = find_app(host, words)
    if words[1:2] != ["skip-deploy"] or words[2:] not in ([], ["true"]):
        raise Unmodelled(f"ps:set {words}")
    app.skip_deploy = bool(words[2:])
    name = "skip_deploy_on" if app.skip_deploy else "skip_deploy_off"
    await put(output, out=_recorded(host, "t_worker_zero_web_skip", name).stdout)
    return 0


async def disable_checks(host: DokkuHost, words: list[str], output: Output) -> int:
    """Disable the checks: old containers are stopped before new ones start."""
    return await _set_checks(host, words, output, enabled=False)


async def enable_checks(host: DokkuHost, words: list[str], output: Output) -> int:
    """Enable the checks."""
    return await _set_checks(host, words, output, enabled=True)


async def _set_checks(host: DokkuHost, words: list[str], output: Output, *, enabled: bool) -> int:
    app = find_app(host, words)
    app.checks_enabled = enabled
    name = "checks_enable" if enabled else "checks_disable"
    text = _recorded(host, "u_crashloop", name).stdout
    await put(output, out=render(text.replace("crash", "{{app}}"), {"app": app.name}))
    return 0


def _recorded(host: DokkuHost, scenario: str, name: str) -> Step:
    return step(host.version, scenario, name)


COMMANDS = {
    "ps:report": report,
    "ps:inspect": inspect,
    "ps:restart": restart,
    "ps:rebuild": rebuild,
    "ps:stop": stop,
    "ps:start": start,
    "ps:scale": scale,
    "ps:set": set_property,
    "checks:disable": disable_checks,
    "checks:enable": enable_checks,
}
