"""The lines of Dokku and its builders that state a fact, in tables: data alone.

To read another line, add a row to the table that says what it means:

- `FETCH_PROGRESS`, `BUILDER_PROGRESS`, `RELEASE_PROGRESS`: how far the deploy is. A line of
  another builder is a row in `BUILDER_PROGRESS`.
- `FETCH_CAUSES`, `BUILD_CAUSES`, `RELEASE_CAUSES`, `OTHER_CAUSES`: that it failed. Which line says
  why is chosen in `bot/deployments/excerpt.py`.
- `NOT_A_CAUSE`: complaints that Dokku prints in good deploys too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bot.deployments.model import LogMarker, Phase

_EARLY: frozenset[Phase | None] = frozenset({None, Phase.FETCHING})
_FETCH: frozenset[Phase | None] = frozenset({Phase.FETCHING})
_BUILD: frozenset[Phase | None] = frozenset({Phase.BUILDING})
_RELEASE: frozenset[Phase | None] = frozenset({Phase.RELEASING})
_ANY: frozenset[Phase | None] = frozenset({None, Phase.FETCHING, Phase.BUILDING, Phase.RELEASING})


@dataclass(frozen=True, slots=True)
class Progress:
    """A line that says how far the deploy is. `{app}` is filled in; groups go into the step."""

    pattern: str
    during: frozenset[Phase | None]
    phase: Phase | None = None
    marker: LogMarker | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """A line that says that it failed; the first row that matches counts."""

    pattern: str
    during: frozenset[Phase | None]
    marker: LogMarker | None = None


FETCH_PROGRESS = (
    Progress(r"-----> Cloning {app} from ", _EARLY, Phase.FETCHING, LogMarker.FETCHING, "cloning"),
    Progress(
        r" {7}Fetching remote code for {app} from ", _EARLY, Phase.FETCHING, LogMarker.FETCHING
    ),
    Progress(
        r" {7}Skipping build as no changes were detected$", _FETCH, marker=LogMarker.BUILD_SKIPPED
    ),
)
BUILDER_PROGRESS = (
    Progress(r"-----> Building {app} from ", _EARLY, Phase.BUILDING, LogMarker.BUILDING),
    Progress(
        r"#\d+ exporting to (?:image|docker image format)$", _BUILD, step="exporting the image"
    ),
    # Docker's classic builder
    Progress(r"Step (\d+)/(\d+) : ", _BUILD, step="step {} of {}"),
)
RELEASE_PROGRESS = (
    Progress(r"-----> Skipping deployment", _BUILD | _RELEASE, marker=LogMarker.DEPLOY_SKIPPED),
    # A custom builder need not say that it builds.
    Progress(
        r"-----> Releasing {app}\.\.\.$",
        _EARLY | _BUILD,
        Phase.RELEASING,
        LogMarker.RELEASING,
        "release",
    ),
    Progress(r"(?: {7}|-----> )Executing (\S+) task from ", _RELEASE, step="{} task"),
    Progress(
        r"-----> Deploying {app} via the ", _RELEASE, marker=LogMarker.DEPLOYING, step="deploy"
    ),
    Progress(r"-----> Deploying (\S+) \(count=\d+\)", _RELEASE, step="starting {}"),
    Progress(
        r"(?: {7}|-----> )Attempting pre-flight checks \((\S+)\)",
        _RELEASE,
        marker=LogMarker.CHECKING,
        step="health checks of {}",
    ),
    Progress(r"-----> Executing \d+ healthchecks", _RELEASE, marker=LogMarker.CHECKING),
    Progress(
        r"=====> Triggering early \S+ proxy rebuild",
        _RELEASE,
        marker=LogMarker.SWITCHING,
        step="switching the proxy",
    ),
    Progress(
        r"-----> Running post-deploy", _RELEASE, marker=LogMarker.POST_DEPLOY, step="post-deploy"
    ),
    Progress(
        r"=====> Application deployed:$", _RELEASE, marker=LogMarker.DEPLOYED, step="finishing"
    ),
)
PROGRESS = (*FETCH_PROGRESS, *BUILDER_PROGRESS, *RELEASE_PROGRESS)

FETCH_CAUSES = (
    Cause(
        r" !     {app} currently has a deploy lock in place\. Exiting\.\.\.$",
        _EARLY,
        LogMarker.LOCKED,
    ),
    Cause(r" !     App {app} does not exist$", frozenset({None}), LogMarker.APP_MISSING),
    Cause(r"fatal: .*\^\{commit\}: not a valid SHA1$", _EARLY, LogMarker.REF_MISSING),
    Cause(r"error: pathspec '.*' did not match any file", _EARLY, LogMarker.REF_MISSING),
    Cause(
        r"fatal: (?:couldn't find remote ref |Remote branch .* not found in upstream"
        r"|reference is not a tree|bad object |Needed a single revision|ambiguous argument "
        r"|remote error: upload-pack: not our ref)",
        _EARLY,
        LogMarker.REF_MISSING,
    ),
    Cause(r"Cannot connect to the Docker daemon", _EARLY, LogMarker.DOCKER_DOWN),
    # The server's own disk, locks or folders, not the repository.
    Cause(
        r"(?:fatal|error): .*(?:No space left|cannot lock ref|[Uu]nable to (?:create|write)"
        r"|write error|[Oo]ut of memory|detected dubious ownership)",
        _EARLY,
    ),
    Cause(
        r"(?:ssh: |ERROR: |Host key verification failed|\S+: Permission denied \()",
        _EARLY,
        LogMarker.REPO_UNREACHABLE,
    ),
    Cause(r"fatal: Could not read from remote", _EARLY, LogMarker.REPO_UNREACHABLE),
    Cause(
        r"(?:fatal: |Error downloading object: |error: failed to fetch some objects)",
        _EARLY,
        LogMarker.REPO_UNREACHABLE,
    ),
    Cause(r"error: ", _EARLY),
)
BUILD_CAUSES = (
    Cause(r" !     App build failed$", _BUILD, LogMarker.BUILD_FAILED),
    # These only look like it: a step of the build may print them.
    Cause(r"ERROR: ", _BUILD),
    Cause(r"failed to solve: ", _BUILD),
)
RELEASE_CAUSES = (
    Cause(r" !     Failure in name=", _RELEASE, LogMarker.CHECKS_FAILED),
    Cause(r" !     Could not start due to \d+ failed checks", _RELEASE, LogMarker.CHECKS_FAILED),
    # The text before checks came from app.json (Dokku's source, check-deploy).
    Cause(r" !     App container failed to start", _RELEASE, LogMarker.CHECKS_FAILED),
    Cause(r" !     Execution of \S+ task failed", _RELEASE, LogMarker.RELEASE_FAILED),
    Cause(r"parallel: This job failed:", _RELEASE, LogMarker.RELEASE_FAILED),
)
OTHER_CAUSES = (
    # Without a marker: Dokku and the build say themselves what failed because of it.
    Cause(r"Cannot connect to the Docker daemon", _BUILD | _RELEASE),
    Cause(
        r"Error response from daemon: No command specified",
        _BUILD | _RELEASE,
        LogMarker.NO_COMMAND,
    ),
    Cause(r"Error response from daemon: ", _BUILD | _RELEASE),
    Cause(r"(?:[^ :]{1,80}: )?unknown (?:shorthand )?flag: ", _ANY),
    Cause(r"(?:docker: |nginx: \[emerg\])", _BUILD | _RELEASE),
    # Any other complaint of Dokku before it has begun is a refusal.
    Cause(r" !     ", frozenset({None}), LogMarker.REFUSED),
    Cause(r" !     (?:Failed to|Invalid|Unable to|Could not) ", _FETCH, LogMarker.REFUSED),
    Cause(r" !     ", _ANY),
)
CAUSES = (*FETCH_CAUSES, *BUILD_CAUSES, *RELEASE_CAUSES, *OTHER_CAUSES)

BUILDER_GIVES_UP = re.compile(
    r"(?:ERROR: )?failed to (?:solve|build): |The command '.*' returned a non-zero code: \d+$"
)
"""The builder's last line, if a complaint of Dokku follows."""
FETCH_GOES_ON = re.compile(r"-----> Cleaning up|Cloning into '|Submodule path '.{1,300}checked out")
BUILD_GOES_ON = re.compile(
    r"#\d{1,6} (?:\[|DONE |CACHED)|Step \d+/\d+ : | ---> |Successfully "
    r"|-----> (?!Build failed)|===> "
)
"""After such a line, what looked like an end was not."""
_OF_THE_FETCH = frozenset(
    {
        LogMarker.APP_MISSING,
        LogMarker.REF_MISSING,
        LogMarker.REPO_UNREACHABLE,
        LogMarker.DOCKER_DOWN,
        LogMarker.REFUSED,
    }
)
OVER: Mapping[Phase, frozenset[LogMarker]] = {
    Phase.FETCHING: frozenset({LogMarker.APP_MISSING, LogMarker.REFUSED}),
    Phase.BUILDING: _OF_THE_FETCH,
    Phase.RELEASING: _OF_THE_FETCH | {LogMarker.BUILD_FAILED, LogMarker.NO_COMMAND},
}
"""Failures of an earlier phase: none, once this phase has begun."""
BUILD_STEP = re.compile(r"#\d{1,6} \[([^\]\d][^\]]{0,200} )? *(\d{1,4})/(\d{1,4})\] ")
# Railpack's steps have no numbers.
NAMED_STEP = re.compile(
    r"#(\d{1,6}) (?!\[|\d|loading |docker-image:|transferring |resolve |exporting |importing "
    r"|naming |writing |unpacking |extracting |sha256:|sending |preparing |DONE |CACHED|CANCELED"
    r"|ERROR)(\S.*)"
)
PACK_PHASE = re.compile(r"===> ([A-Z]{1,40})$")
BUILDPACK_PHASE = re.compile(
    r"-----> (?!Build failed|Build succeeded|Failed |Unable |Fetching \S+ done|Adding BUILD_ENV)"
    r"([A-Z].*)"
)

NOT_A_CAUSE = re.compile(
    r" !     (?:No healthchecks found|No web listeners|Retagging |Removing invalid image"
    r"|Run 'apps:unlock'|Failed to rename container|App has been detected as not running"
    r"|builds-record-|Skipping \S+ as it is missing|Detected |Ensure the default|Deprecat"
    r"|Warning|WARNING)"
)
