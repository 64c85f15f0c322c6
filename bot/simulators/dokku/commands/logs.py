"""`logs`: what the processes printed, while their containers exist."""

from bot.simulators.dokku.clock import stamp_ns
from bot.simulators.dokku.commands.shared import Refused, Unmodelled, find_app, put
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Container, Output, RunState
from bot.simulators.dokku.recordings import step

COLOURS = {"web": 36, "worker": 33}
DEFAULT_LINES = 100


async def logs(host: DokkuHost, words: list[str], output: Output) -> int:
    """Print the last lines of the app's processes, without following them."""
    app = find_app(host, words)
    count, quiet, only = _options(words[1:])
    if not app.listed:
        recorded = step(host.version, "q_logs", "never_deployed")
        raise Refused(recorded.stderr.replace("neverup", app.name), recorded.exit_status)
    if host.docker_down:
        down = step(host.version, "n2_dockerd_killed_mid_build", "logs_while_down")
        await put(output, out=down.stdout)
        return down.exit_status
    lines: list[str] = []
    for dyno, container in sorted(app.listed.items()):
        if only in {None, container.process_type, dyno}:
            lines += [text if quiet else prefix + text for prefix, text in _printed(container)]
    await put(output, out="".join(line + "\n" for line in lines[-count:]))
    return 0


def _options(words: list[str]) -> tuple[int, bool, str | None]:
    count, quiet, only = DEFAULT_LINES, False, None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in {"--num", "-n"} and rest:
            count = int(rest.pop(0))
        elif word in {"--ps", "-p"} and rest:
            only = rest.pop(0)
        elif word in {"--quiet", "-q"}:
            quiet = True
        else:
            raise Unmodelled(f"logs {words}")
    return count, quiet, only


def _printed(container: Container) -> list[tuple[str, str]]:
    """Return prefix and text of each line: the recorded program prints two lines per start.

    When web crashes it prints a third one (recording u_crashloop); no worker's crash is recorded.
    """
    kind = container.process_type
    second = "listening on 5000" if kind == "web" else "worker tick 0 version=2"
    lines: list[tuple[str, str]] = []
    gave_up = container.state is RunState.EXITED and container.exit_code != 0
    crashes = container.restart_count + (1 if gave_up else 0)
    for number, started_at in enumerate(container.starts, 1):
        prefix = (
            f"\x1b[{COLOURS.get(kind, 36)}m{stamp_ns(started_at)} app[{container.dyno}]:\x1b[0m "
        )
        lines.append((prefix, f"labweb {kind} starting version=2 rev={container.rev} pid=7"))
        lines.append((prefix, second))
        if number <= crashes and kind == "web":
            lines.append((prefix, "labweb: simulated crash"))
    return lines


COMMANDS = {"logs": logs}
