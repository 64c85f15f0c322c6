"""`ps:inspect`: docker's own report of the containers that Dokku lists."""

import json
from typing import Any

from bot.simulators.dokku.app import App
from bot.simulators.dokku.clock import stamp_ns
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Container, RunState
from bot.simulators.dokku.recordings import Step, step

MASK = "XXXXXX"
UNMASKED = ("CACHE_PATH=", "DOCKER_", "DOKKU_", "DYNO=", "PATH=", "PORT=", "USER=")
NEVER = "0001-01-01T00:00:00Z"


def inspect(host: DokkuHost, app: App) -> tuple[int, str, str]:
    """Give exit status, stdout and stderr of `ps:inspect`.

    No container: exit 1, nothing on stdout. Containers that are gone: exit 1 and the rest.
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
        "Running": container.state is not RunState.EXITED,
        "StartedAt": stamp_ns(container.started_at),
        "Status": container.state.value,
    }


def _environment(container: Container) -> list[str]:
    own = [f"{key}={value}" for key, value in sorted(container.env.items())]
    every = [*own, f"GIT_REV={container.rev}", f"DYNO={container.dyno}", "PORT=5000", "PATH=/bin"]
    return [one if one.startswith(UNMASKED) else _masked(one) for one in every]


def _masked(pair: str) -> str:
    return f"{pair.partition('=')[0]}={MASK}"
