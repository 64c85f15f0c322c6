"""The `*:report` answers, in the recorded layout: same keys, order and widths."""

import json
import re
from collections.abc import Mapping

from bot.simulators.dokku.app import App
from bot.simulators.dokku.clock import stamp_s
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Container
from bot.simulators.dokku.recordings import step

_ROW = re.compile(r"^( {7})([^:]+:)( *)(.*)$")
_BEFORE = {
    "apps": ("apps_report_before", "apps_report_json_before"),
    "ps": ("ps_report_before", "ps_report_json_before"),
    "builds": ("builds_report_before", "builds_report_json_before"),
    "git": ("git_report_before", "git_report_json_before"),
}
_TITLES = {"apps": "app", "ps": "ps", "builds": "builds", "git": "git"}
_PREFIXES = {"apps": "app", "ps": "ps", "builds": "builds", "git": "git"}


def as_text(host: DokkuHost, kind: str, app: App, values: Mapping[str, str]) -> str:
    """Format a report as a text table.

    `values` replaces recorded values; its keys are the JSON's long keys, e.g. `app-locked`.
    """
    lines = [f"=====> {app.name} {_TITLES[kind]} information"]
    text = step(host.version, "a_first_deploy_ok", _BEFORE[kind][0]).stdout
    rows = [match for match in map(_ROW.match, text.splitlines()) if match]
    width = max(len(match.group(2) + match.group(3)) for match in rows)
    shown = [(match.group(2), values.get(_key(match.group(2)), match.group(4))) for match in rows]
    for key in sorted(one for one in values if one.startswith("status-")):
        label = "Status " + key.removeprefix("status-").replace(".", " ") + ":"
        shown.append((label, values[key]))
    lines += [f"{' ' * 7}{label.ljust(width)}{value}" for label, value in shown]
    return "\n".join(lines) + "\n"


def as_json(host: DokkuHost, kind: str, values: Mapping[str, str]) -> str:
    """Format a report as its flat JSON object of strings."""
    recorded: dict[str, str] = json.loads(
        step(host.version, "a_first_deploy_ok", _BEFORE[kind][1]).stdout
    )
    filled = {
        key: values.get(key, values.get(f"{_PREFIXES[kind]}-{key}", value))
        for key, value in recorded.items()
    }
    filled |= {key: value for key, value in values.items() if key.startswith("status-")}
    return json.dumps(dict(sorted(filled.items())), separators=(",", ":")) + "\n"


def flag(host: DokkuHost, kind: str, values: Mapping[str, str], name: str) -> str | None:
    """Return the value that a flag such as `--git-sha` asks for, or None if it is unknown."""
    text = step(host.version, "a_first_deploy_ok", _BEFORE[kind][0]).stdout
    rows = [match for match in map(_ROW.match, text.splitlines()) if match]
    known = {_key(match.group(2)): match.group(4) for match in rows}
    return {**known, **values}.get(name.removeprefix("--"))


def _key(label: str) -> str:
    return label.rstrip(":").lower().replace(" ", "-")


def app_values(app: App) -> dict[str, str]:
    """Return the values of `apps:report`."""
    return {
        "app-created-at": str(app.created_unix),
        "app-deploy-source": app.deploy_source,
        "app-deploy-source-metadata": app.deploy_source_metadata,
        "app-dir": f"/home/dokku/{app.name}",
        "app-locked": _word(app.lock_file is not None),
    }


def ps_values(host: DokkuHost, app: App) -> dict[str, str]:
    """Return the values of `ps:report`; `running` is true for a restarting container too."""
    states = {dyno: state_of(host, one) for dyno, one in sorted(app.listed.items())}
    up = [state in {"running", "restarting"} for state in states.values()]
    running = _word(all(up)) if not up or all(up) or not any(up) else "mixed"
    return {
        "deployed": _word(app.deployed),
        "processes": str(len(states)),
        "ps-computed-skip-deploy": _word(app.skip_deploy),
        "ps-skip-deploy": "true" if app.skip_deploy else "",
        "restore": _word(app.restore),
        "running": running if up else "false",
        **{
            f"status-{dyno}": f"{state} (CID: {app.listed[dyno].id[:11]})"
            for dyno, state in states.items()
        },
    }


def state_of(host: DokkuHost, container: Container) -> str:
    """Return the state that a report shows: `missing` if docker does not know the container."""
    if host.docker_down or not container.exists:
        return "missing"
    return container.state.value


def git_values(host: DokkuHost, app: App) -> dict[str, str]:
    """Return the values of `git:report`; 0.35 shows the default if no branch is set."""
    unset = "" if host.keeps_build_records else "master"
    return {
        "git-computed-deploy-branch": app.deploy_branch or "master",
        "git-deploy-branch": app.deploy_branch or unset,
        "git-last-updated-at": str(app.git_updated_unix or ""),
        "git-sha": app.git_sha or "HEAD",
    }


def builds_values(app: App) -> dict[str, str]:
    """Return the values of `builds:report`, which shows only the newest record."""
    if not app.records:
        return {}
    newest = max(app.records, key=lambda one: one.id)
    return {
        "build-exit-code": "" if newest.exit_code is None else str(newest.exit_code),
        "build-finished-at": stamp_s(newest.finished_at) if newest.finished_at else "",
        "build-id": newest.id,
        "build-kind": newest.kind,
        "build-pid": str(newest.pid),
        "build-source": newest.source,
        "build-started-at": stamp_s(newest.started_at),
        "build-status": newest.display_status,
    }


def _word(fact: bool) -> str:
    return "true" if fact else "false"
