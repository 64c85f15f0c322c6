"""`apps:*` and `version`."""

from bot.simulators.dokku.commands import reports
from bot.simulators.dokku.commands.shared import Refused, Unmodelled, find_app, put, take_format
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Output
from bot.simulators.dokku.recordings import NEWEST, step


async def version(host: DokkuHost, _words: list[str], output: Output) -> int:
    """Print the Dokku version."""
    await put(output, out=f"dokku version {host.version}\n")
    return 0


async def list_apps(host: DokkuHost, _words: list[str], output: Output) -> int:
    """List the apps by name."""
    if not host.apps:
        raise Unmodelled("apps:list without any app")
    await put(output, out="\n".join(["=====> My Apps", *sorted(host.apps)]) + "\n")
    return 0


async def exists(host: DokkuHost, words: list[str], output: Output) -> int:
    """Answer by the exit status whether an app exists."""
    find_app(host, words)
    await put(output)
    return 0


async def locked(host: DokkuHost, words: list[str], output: Output) -> int:
    """Answer whether the lock file exists, which does not prove that a deploy runs."""
    app = find_app(host, words)
    if app.lock_file is None:
        recorded = step(host.version, "a_first_deploy_ok", "not_locked")
        raise Refused(recorded.stderr, recorded.exit_status)
    await put(output, out=step(NEWEST, "a_first_deploy_ok", "locked").stdout)
    return 0


async def lock(host: DokkuHost, words: list[str], output: Output) -> int:
    """Create a lock file that no deploy holds; deploys ignore and remove it."""
    app = find_app(host, words)
    app.lock_file = ""
    await put(output, out=step(NEWEST, "v_apps_lock_unlock", "lock").stdout)
    return 0


async def report(host: DokkuHost, words: list[str], output: Output) -> int:
    """Report an app as a table, as JSON or as one value; without a name all apps."""
    form, rest = take_format(words)
    if not rest or rest[0].startswith("--"):
        apps = [app for _, app in sorted(host.apps.items())]
    else:
        apps = [find_app(host, rest)]
    flags = [word for word in rest if word.startswith("--")]
    for app in apps:
        values = reports.app_values(app)
        if flags:
            value = reports.flag(host, "apps", values, flags[0])
            if value is None:
                recorded = step(host.version, "i_app_missing", "apps_report_web_no-such-flag")
                raise Refused(recorded.stderr, recorded.exit_status)
            await put(output, out=value + "\n")
        elif form == "json":
            await put(output, out=reports.as_json(host, "apps", values))
        else:
            await put(output, out=reports.as_text(host, "apps", app, values))
    return 0


COMMANDS = {
    "version": version,
    "apps:list": list_apps,
    "apps:exists": exists,
    "apps:lock": lock,
    "apps:locked": locked,
    "apps:report": report,
}
