"""The commands that are sent to Dokku, as argument vectors. Pure; refuses what could do harm.

Over SSH an argument vector becomes one string that Dokku splits on white space, and `git:*`
commands honour no quotes. Nothing reaches a shell, but an argument with a blank would become two
and one with a leading dash an option. So every argument obeys a strict pattern.
"""

import re

from bot.errors import Declined

Argv = tuple[str, ...]

_LONGEST = 255
_APP = re.compile(r"[a-z0-9][a-z0-9.-]*")
# Where Dokku could make none it takes its process id: `pid-4711` (its source, common/functions).
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
# git's check-ref-format, and nothing that a shell or xargs would look at.
_REF = re.compile(r"(?!-)[A-Za-z0-9._/+@=#%,!-]+")
_REF_BAD = re.compile(r"\.\.|//|/\.|\.lock(?:/|$)|^[./]|[./]$|@\{|^@$")
_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_REPO = re.compile(
    rf"(?:https?|ssh|git)://(?:[A-Za-z0-9._~%!:+=-]+@)?{_HOST}(?::\d{{1,5}})?/[A-Za-z0-9._~/%+@=,-]+"
    rf"|[A-Za-z0-9][A-Za-z0-9._-]*@{_HOST}:[A-Za-z0-9._/~+-]+"
)


def checked_app(app: str) -> str:
    """The app's name, when Dokku could have an app of that name. Declined otherwise."""
    if len(app) > _LONGEST or not _APP.fullmatch(app):
        raise Declined(
            f"{app[:60]!r} cannot be the name of a Dokku app: it begins with a lower-case letter "
            "or digit, then come lower-case letters, digits, dots and hyphens."
        )
    return app


def checked_ref(ref: str) -> str:
    """The ref, when git allows it and it is no option. Declined otherwise."""
    if len(ref) > _LONGEST or not _REF.fullmatch(ref) or _REF_BAD.search(ref):
        raise Declined(f"{ref[:60]!r} is not a branch, tag or commit that can be deployed.")
    return ref


def checked_repo(repo: str) -> str:
    """The repository's URL, when Dokku can be given it. Declined otherwise."""
    if len(repo) > 4 * _LONGEST or not _REPO.fullmatch(repo):
        raise Declined(
            "The repository's address is not one that can be given to Dokku: "
            "use https://…, ssh://…, git://… or user@host:path, without blanks or quotes."
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
    return ("apps:report", checked_app(app), *_format(as_json))


def ps_report(app: str, *, as_json: bool) -> Argv:
    """State of each container; asked only where `ps:inspect` says nothing."""
    return ("ps:report", checked_app(app), *_format(as_json))


def ps_inspect(app: str) -> Argv:
    """Docker's own description of each container of the app."""
    return ("ps:inspect", checked_app(app))


def config_export(app: str) -> Argv:
    """The app's environment with what is set for all apps: names and values, in clear."""
    return ("config:export", "--merged", "--format", "json", checked_app(app))


def git_sha(app: str) -> Argv:
    """The commit that was fetched last."""
    return ("git:report", checked_app(app), "--git-sha")


def git_deploy_branch(app: str) -> Argv:
    """The branch that Dokku deploys."""
    return ("git:report", checked_app(app), "--git-deploy-branch")


def builds_list(app: str) -> Argv:
    """Build records of one app, newest first."""
    return ("builds:list", checked_app(app), "--format", "json")


def builds_output(app: str, build_id: str) -> Argv:
    """The text of one build. For a build that still runs this never ends."""
    if not _BUILD_ID.fullmatch(build_id):
        raise Declined(f"{build_id[:60]!r} is not the id of a Dokku build.")
    return ("builds:output", checked_app(app), build_id)


def builds_cancel(app: str) -> Argv:
    """Kill whatever deploy holds the app's lock: make sure first that it is ours."""
    return ("builds:cancel", checked_app(app))


def git_sync(app: str, repo: str, pinned: str) -> Argv:
    """Fetch and deploy. Never `--build-if-changes`: it skips a commit whose build failed before."""
    return ("git:sync", "--build", checked_app(app), checked_repo(repo), checked_ref(pinned))


def _format(as_json: bool) -> Argv:
    return ("--format", "json") if as_json else ()
