"""The commands that are sent to Dokku, and what each version of Dokku can do. Pure.

Over SSH an argument vector becomes one string that Dokku splits on white space, and `git:*`
commands honour no quotes. Nothing reaches a shell, but an argument with a blank would become two
and one with a leading dash an option. So every argument matches a strict pattern.
Support for a new version of Dokku begins with a row in SINCE.
"""

import re
from dataclasses import dataclass

from bot.errors import Declined
from bot.names import LONGEST_NAME, check_app, check_ref

Argv = tuple[str, ...]
Version = tuple[int, int, int]

# Where Dokku could not make an id it takes its process id: `pid-4711` (its source,
# common/functions).
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_PROCESS_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_LOG_LINES = "50"
_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_REPO = re.compile(
    rf"(?:https?|ssh|git)://(?:[A-Za-z0-9._~%!:+=-]+@)?{_HOST}(?::\d{{1,5}})?/[A-Za-z0-9._~/%+@=,-]+"
    rf"|[A-Za-z0-9][A-Za-z0-9._-]*@{_HOST}:[A-Za-z0-9._/~+-]+"
)
# Built from source it is `git describe`: `v0.38.27-33-g33896f5d7`.
_VERSION = re.compile(r"(?<![\w.])v?(\d+)\.(\d+)\.(\d+)")
_VERSION_LINE = re.compile(r"^dokku version (.*)$", re.MULTILINE)

RUNNER_CLIENT = "/app/dokku-ssh"
"""What a runner's image must have: it logs in to the server and passes its words on to Dokku."""

SINCE: dict[str, Version] = {
    "records": (0, 38, 0),
    "json_reports": (0, 27, 0),
}
"""Capability -> first version that has it (Dokku's tags and sources)."""

MEANS: dict[str, str] = {
    "records": "`builds:list`, `builds:info`, `builds:output`, `builds:cancel`: a record and the "
    "text of each deploy, the source of other deploys, and a cancel that Dokku confirms",
    "json_reports": "`--format json` of `apps:report` and `ps:report`",
}
"""Capability -> explanation for docs/verdicts.md."""

RECORDED: frozenset[tuple[int, int]] = frozenset({(0, 35), (0, 38)})
"""Versions with recordings: the rules are tested with what these really print and do."""
OLDEST: Version = (0, 30, 0)
"""From this version on, reports can be read by key without a recording."""


# --- argument vectors


def checked_repo(repo: str) -> str:
    """Return the repository's URL. Declined: Dokku cannot be given it."""
    if len(repo) > 4 * LONGEST_NAME or not _REPO.fullmatch(repo):
        raise Declined(
            "Dokku cannot be given this repository's address. "
            "Use https://…, ssh://…, git://… or user@host:path, without blanks or quotes."
        )
    return repo


def version() -> Argv:
    """`dokku version X.Y.Z`."""
    return ("version",)


def apps_list() -> Argv:
    """Names of all apps, below a header."""
    return ("apps:list",)


def apps_report(app: str, *, as_json: bool) -> Argv:
    """Where the app's code came from, and whether Dokku's lock file is there."""
    return ("apps:report", check_app(app), *_format(as_json))


def ps_report(app: str, *, as_json: bool) -> Argv:
    """State of each container; only needed where `ps:inspect` fails."""
    return ("ps:report", check_app(app), *_format(as_json))


def ps_inspect(app: str) -> Argv:
    """Docker's description of each container of the app."""
    return ("ps:inspect", check_app(app))


def logs(app: str, process_type: str) -> Argv:
    """The last lines that the containers of one process type printed."""
    if not _PROCESS_TYPE.fullmatch(process_type):
        raise Declined(f"{process_type[:60]!r} is not the name of a process type.")
    return ("logs", check_app(app), "--num", _LOG_LINES, "--ps", process_type)


def scheduler(app: str) -> Argv:
    """What runs the app's containers; asked only where `ps:inspect` shows nothing."""
    return ("scheduler:report", check_app(app), "--scheduler-computed-selected")


def config_export(app: str) -> Argv:
    """The app's environment with what is set for all apps: names and values, in clear text."""
    return ("config:export", "--merged", "--format", "json", check_app(app))


def git_sha(app: str) -> Argv:
    """The commit that was fetched last."""
    return ("git:report", check_app(app), "--git-sha")


def git_deploy_branch(app: str, which: str = "") -> Argv:
    """The branch set for the app; `which`: `global-` for all apps, `computed-` for what counts."""
    return ("git:report", check_app(app), f"--git-{which}deploy-branch")


def builds_list(app: str) -> Argv:
    """Build records of one app, newest first."""
    return ("builds:list", check_app(app), "--format", "json")


def builds_output(app: str, build_id: str) -> Argv:
    """The text of one build. For a running build this does not end before the build does."""
    if not _BUILD_ID.fullmatch(build_id):
        raise Declined(f"{build_id[:60]!r} is not the id of a Dokku build.")
    return ("builds:output", check_app(app), build_id)


def builds_cancel(app: str) -> Argv:
    """Kill whatever deploy holds the app's deploy lock: first make sure which one that is."""
    return ("builds:cancel", check_app(app))


def git_sync(app: str, repo: str, pinned: str) -> Argv:
    """Fetch and deploy. Never `--build-if-changes`: it skips a commit whose build failed before."""
    return ("git:sync", "--build", check_app(app), checked_repo(repo), check_ref(pinned))


def run_detached(runner: str, command: Argv) -> Argv:
    """Run a command of Dokku in a one-off container, by the SSH client in it."""
    return ("run:detached", check_app(runner), RUNNER_CLIENT, *command)


def run_list(runner: str) -> Argv:
    """The one-off containers of an app that run; their form as text was recorded with and without.

    As JSON it was recorded only with a container.
    """
    return ("run:list", check_app(runner))


def _format(as_json: bool) -> Argv:
    return ("--format", "json") if as_json else ()


# --- versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one server can do."""

    version: str | None
    """`0.38.27`; None: it names none (built from source), and is treated as the newest."""
    records: bool
    """`builds:*`."""
    json_reports: bool
    """`--format json` of `apps:report` and `ps:report`."""
    recorded: bool
    """There are recordings of this version."""

    def support(self) -> str:
        """How well this version is supported, for operators."""
        if self.version is None:
            return "It names no version and is treated as the newest, which is untested."
        sentences = [self._tested()]
        if not self.records:
            sentences.append(
                "Dokku before 0.38 keeps no build records: after a lost connection the result is "
                "inferred from the deploy lock and the containers, a cancel closes the bot's own "
                "connection, and the source of other deploys is unknown. Upgrade if you can."
            )
        return " ".join(sentences)

    def _tested(self) -> str:
        if self.recorded:
            return "Tested with recordings of this version."
        number = _read_version(self.version or "")
        if number is not None and number < OLDEST:
            oldest = ".".join(str(part) for part in OLDEST[:2])
            return f"Older than {oldest}: its output may be misread. Upgrade it."
        recorded = " and ".join(f"{major}.{minor}" for major, minor in sorted(RECORDED))
        return f"Untested: its reports are read by key; only {recorded} were recorded."


def capabilities(answer: str) -> Capabilities:
    """Read the answer of `version`, such as `dokku version 0.38.27`.

    Login noise before it may hold the version of something else.
    """
    named = _VERSION_LINE.findall(answer.replace("\r", ""))
    number = _read_version(named[-1] if named else answer)
    can = {name: number is None or number >= since for name, since in SINCE.items()}
    shown = None if number is None else ".".join(str(part) for part in number)
    recorded = number is not None and number[:2] in RECORDED
    return Capabilities(version=shown, recorded=recorded, **can)


def _read_version(text: str) -> Version | None:
    match = _VERSION.search(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
