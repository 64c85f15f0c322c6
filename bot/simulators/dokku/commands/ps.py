"""`ps:*` and `checks:*`: processes and their containers."""

from bot.simulators.dokku import procedures, reports
from bot.simulators.dokku.commands.answers import Unmodelled, find_app, put, take_format
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.inspection import inspect as inspect_containers
from bot.simulators.dokku.model import Output, RunState
from bot.simulators.dokku.recordings import Step, render, step
from bot.simulators.dokku.runs import Run


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
    """Give docker's report of the listed containers."""
    status, out, err = inspect_containers(host, find_app(host, words))
    await put(output, out=out, err=err)
    return status


async def restart(host: DokkuHost, words: list[str], output: Output) -> int:
    """Replace the containers by new ones of the image tag; takes no lock."""
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
    """Start a stopped app: a release of its own."""
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
    said = " ".join(f"{name}={count}" for name, count in changed.items())
    line = _recorded(host, "x_config_scale_domains", "scale_up").lines[0]
    await put(output, out=line.render({"app": app.name, "scale": said}))
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
    """Switch the checks off: old containers are stopped before new ones start."""
    return await _set_checks(host, words, output, enabled=False)


async def enable_checks(host: DokkuHost, words: list[str], output: Output) -> int:
    """Switch the checks on."""
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
