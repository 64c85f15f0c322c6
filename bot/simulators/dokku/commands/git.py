"""`git:*`."""

from bot.simulators.dokku import procedures
from bot.simulators.dokku.commands import reports
from bot.simulators.dokku.commands.shared import (
    Refused,
    Unmodelled,
    find_app,
    put,
    take_format,
)
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Output
from bot.simulators.dokku.recordings import step
from bot.simulators.dokku.runs import Run

MODES = {"--build": "build", "--build-if-changes": "if_changes"}


async def sync(host: DokkuHost, words: list[str], output: Output) -> int:
    """Fetch a ref, and with `--build` build and deploy it."""
    flags = [word for word in words if word.startswith("--")]
    rest = [word for word in words if not word.startswith("--")]
    if len(flags) > 1 or any(one not in MODES for one in flags):
        raise Unmodelled(f"git:sync with {flags}")
    app = find_app(host, rest)
    if len(rest) == 1:
        refused = step(host.version, "i_app_missing", "git_sync_build_web")
        raise Refused(refused.stderr, refused.exit_status)
    url, ref = rest[1], "".join(rest[2:3])
    if not ref:
        raise Unmodelled("git:sync without a ref")
    run = Run(host=host, app=app, output=output)
    run.record = host.new_record(app, kind="build", source="git:sync")
    replay = host.replays.get(app.name)
    recorded = replay.next() if replay else None
    if replay and recorded:
        return await run.execute(replay.play(run, recorded, url, ref))
    mode = MODES[flags[0]] if flags else "none"
    return await run.execute(procedures.sync(run, url=url, ref=ref, mode=mode))


async def report(host: DokkuHost, words: list[str], output: Output) -> int:
    """Report an app's repository as a table, as JSON or as one value."""
    form, rest = take_format(words)
    app = find_app(host, rest)
    values = reports.git_values(host, app)
    flags = [word for word in rest if word.startswith("--")]
    if flags:
        value = reports.flag(host, "git", values, flags[0])
        if value is None:
            raise Unmodelled(f"git:report {flags[0]}")
        await put(output, out=value + "\n")
    elif not host.keeps_build_records:
        raise Unmodelled(f"git:report as {form} on {host.version}")
    elif form == "json":
        await put(output, out=reports.as_json(host, "git", values))
    else:
        await put(output, out=reports.as_text(host, "git", app, values))
    return 0


COMMANDS = {"git:sync": sync, "git:report": report}
