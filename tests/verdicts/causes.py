"""Dokku's texts of an end, each with the rows that it leads to, or why no deployment meets it."""

from dataclasses import dataclass

from tests.verdicts.rows import Row
from tests.verdicts.samples import NEWEST, OLDER
from tests.verdicts.table import SECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One text, as it is printed; `X` stands for what differs."""

    exits: str
    """Exit status; a sentence where none comes."""
    says: str
    rows: tuple[str, ...] = ()
    """Names of the rows (`Row.name`) that show what it comes to."""
    not_met: str | None = None
    """Why no deployment of the bot ends with it, or what is left out."""


def _new(scenario: str, step: str = "deploy") -> str:
    return f"{NEWEST}{scenario}:{step}"


def _old(scenario: str, step: str = "deploy") -> str:
    return f"{OLDER}{scenario}:{step}"


NO_COMMAND = "The image names no command, and the app has no Procfile."
_REPO = "h_repo_missing"
_NO_IMAGE = "only `git:from-image` says it; the bot sends nothing but `git:sync`"

CAUSES: tuple[Cause, ...] = (
    Cause(
        exits="20",
        says="App X does not exist",
        rows=(_new("i_app_missing", "git_sync_build_ghost_git_//git.example/web.git_main"),),
    ),
    Cause(
        exits="1",
        says="App name must begin with lowercase alphanumeric character",
        not_met="only `apps:create` says it; the bot creates no app, and refuses such names itself",
    ),
    Cause(
        exits="1",
        says="X currently has a deploy lock in place. Exiting...",
        rows=(
            _new("j_second_deploy_while_running", "second"),
            _old("j_second_deploy_while_running", "second"),
        ),
    ),
    Cause(exits="128", says="not a valid SHA1", rows=(_new("g_ref_missing"),)),
    Cause(
        exits="1",
        says="did not match any file(s) known to git",
        rows=(_new("g_ref_missing", "first_deploy"),),
    ),
    Cause(
        exits="128",
        says="fatal: remote error: access denied or repository not exported",
        rows=(_new(_REPO, "not_exported"),),
    ),
    Cause(exits="128", says="Could not resolve host", rows=(_new(_REPO, "no_such_host"),)),
    Cause(exits="128", says="errno=Connection refused", rows=(_new(_REPO, "refused"),)),
    Cause(
        exits="128",
        says="does not appear to be a git repository",
        rows=(_new(_REPO, "no_url"),),
    ),
    Cause(
        exits="128",
        says="fatal: Could not read from remote repository.",
        rows=(_new(_REPO, "ssh_refused"),),
    ),
    Cause(
        exits="1",
        says="Missing GIT_REMOTE parameter",
        rows=(_new("i_app_missing", "git_sync_build_web"),),
        not_met="the bot starts nothing without a repository",
    ),
    Cause(
        exits="1",
        says="ERROR: failed to solve:",
        rows=(_new("c_redeploy_build_fails"), _old("c_redeploy_build_fails")),
    ),
    Cause(
        exits="1",
        says="Removing invalid image tag",
        rows=(
            _new("e_first_deploy_build_fails"),
            _new("n2_dockerd_killed_mid_build", "deploy_while_down"),
        ),
    ),
    Cause(
        exits="1",
        says="Cannot connect to the Docker daemon",
        rows=(_new("n2_dockerd_killed_mid_build", "deploy_while_down"),),
    ),
    Cause(exits="1", says="Execution of predeploy task failed: X", rows=("predeploy_fails",)),
    Cause(
        exits="1",
        says="Execution of release task failed: X",
        not_met="nobody has seen it yet; it is read as that of a predeploy task",
    ),
    Cause(exits="1", says="Execution of postdeploy task failed: X", rows=("postdeploy_fails",)),
    Cause(exits="1", says="parallel: This job failed:", rows=("worker_fails",)),
    Cause(
        exits="1",
        says="Failure in name='X': unexpected status code: 500",
        rows=(_new("d_redeploy_healthcheck_fails"), _old("d_redeploy_healthcheck_fails")),
    ),
    Cause(
        exits="1",
        says="Could not start due to 1 failed checks (web.1)",
        rows=(_new("d_redeploy_healthcheck_fails"), _old("d_redeploy_healthcheck_fails")),
    ),
    Cause(exits="1", says="No command specified", rows=(NO_COMMAND,)),
    Cause(exits="1", says="No changes detected, skipping git commit", not_met=_NO_IMAGE),
    Cause(exits="1", says="Failed to pull image: X", not_met=_NO_IMAGE),
    Cause(
        exits="1",
        says="`X` is not a dokku command.",
        not_met="`builds:list` says it before 0.38, where the bot does not ask it: `version` "
        "tells. A Dokku without `git:sync` would be read as one that refuses",
    ),
    Cause(
        exits="141",
        says="(the output just stops)",
        rows=(_new("l1_cancel_mid_build"), _new("l3_cancel_post_deploy")),
        not_met="where its pipe was closed, the line is lost and nobody hears the status",
    ),
    Cause(
        exits="none, but the signal KILL",
        says="(the output just stops)",
        rows=(_new("n1_dokku_killed_mid_build"),),
    ),
    Cause(
        exits="none: the connection was lost",
        says="(the output just stops)",
        rows=(
            _new("m1_ssh_lost_kill9_mid_build"),
            _new("m4_ssh_lost_kill9_post_deploy"),
            _new("m6_ssh_blackhole_forever"),
            _old("m1_ssh_lost_kill9_mid_build"),
            _old("inspect_c_interrupted_post_deploy"),
        ),
    ),
    Cause(
        exits="0",
        says="Skipping build as no changes were detected",
        rows=(_new("f_noop_same_commit", "build_if_changes"),),
        not_met="only `--build-if-changes` says it, which the bot never sends",
    ),
    Cause(
        exits="0",
        says="Skipping deployment",
        rows=(_new("t_worker_zero_web_skip", "deploy_skip"),),
    ),
)


def rows_of(cause: Cause) -> tuple[Row, ...]:
    """The rows that show it, in its order. Raises KeyError for a name that no row has."""
    named: dict[str, Row] = {}
    for section in SECTIONS:
        for row in section.rows:
            named.setdefault(row.name, row)
    return tuple(named[name] for name in cause.rows)
