"""Read facts from the lines of a deploy's output: the log markers, which only Dokku prints.

Dokku's own lines begin with `-----> `, `=====> `, ` !     ` or seven blanks; git and Docker add
`fatal: `, `error: `, `ERROR: `. The output of a build or a container is recognised by its margin
(`#8 1.2 `, or seven blanks between a Start and an End line) and by the phase: a refusal is only
believed before the build, a failed check only after it. Measured on Dokku 0.35.20 and 0.38.27.

To read another line, add a row to the table that says what it means:

- `FETCH_PROGRESS`, `BUILDER_PROGRESS`, `RELEASE_PROGRESS`: how far the deploy is. A line of
  another builder is a row in `BUILDER_PROGRESS`.
- `FETCH_CAUSES`, `BUILD_CAUSES`, `RELEASE_CAUSES`, `OTHER_CAUSES`: why it failed.
- `NOT_A_CAUSE`: complaints that Dokku prints in good deploys too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from bot.deployments.model import LogFacts, LogMarker, Phase
from bot.redaction_rules import MASK

_ERROR_CHARS = 500
_ANY_COMPLAINT = 10
"""Rank of a complaint that no other row knows. Dokku warns and goes on, or fails and stops: so of
these the last one counts, of others the first."""
_EARLY: frozenset[Phase | None] = frozenset({None, Phase.FETCHING})
_FETCH: frozenset[Phase | None] = frozenset({Phase.FETCHING})
_BUILD: frozenset[Phase | None] = frozenset({Phase.BUILDING})
_RELEASE: frozenset[Phase | None] = frozenset({Phase.RELEASING})
_ANY: frozenset[Phase | None] = frozenset({None, Phase.FETCHING, Phase.BUILDING, Phase.RELEASING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, or one piece of a very long one."""

    text: str
    """Clean, *not* redacted: only for reading facts, never stored or shown."""
    shown: str
    """Clean and redacted."""
    starts: bool = True
    """False: it continues the line before."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """A line that says how far the deploy is. `{app}` is filled in; groups go into the step."""

    pattern: str
    during: frozenset[Phase | None]
    phase: Phase | None = None
    marker: LogMarker | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class _Cause:
    """A line that says why it failed. Of several causes the one with the highest rank is kept."""

    pattern: str
    during: frozenset[Phase | None]
    rank: int
    marker: LogMarker | None = None


FETCH_PROGRESS = (
    _Progress(r"-----> Cloning {app} from ", _EARLY, Phase.FETCHING, LogMarker.FETCHING, "cloning"),
    _Progress(
        r" {7}Fetching remote code for {app} from ", _EARLY, Phase.FETCHING, LogMarker.FETCHING
    ),
    _Progress(
        r" {7}Skipping build as no changes were detected$", _FETCH, marker=LogMarker.BUILD_SKIPPED
    ),
)
BUILDER_PROGRESS = (
    _Progress(r"-----> Building {app} from ", _EARLY, Phase.BUILDING, LogMarker.BUILDING),
    # BuildKit
    _Progress(r"#\d+ \[(?:\S+ )?(\d+)/(\d+)\] ", _BUILD, step="step {} of {}"),
    _Progress(r"#\d+ exporting to image$", _BUILD, step="exporting the image"),
    # Docker's classic builder
    _Progress(r"Step (\d+)/(\d+) : ", _BUILD, step="step {} of {}"),
)
RELEASE_PROGRESS = (
    _Progress(r"-----> Skipping deployment", _BUILD | _RELEASE, marker=LogMarker.DEPLOY_SKIPPED),
    # A custom builder need not say that it builds.
    _Progress(
        r"-----> Releasing {app}\.\.\.$",
        _EARLY | _BUILD,
        Phase.RELEASING,
        LogMarker.RELEASING,
        "release",
    ),
    _Progress(r"-----> Executing (\S+) task from ", _RELEASE, step="{} task"),
    _Progress(
        r"-----> Deploying {app} via the ", _RELEASE, marker=LogMarker.DEPLOYING, step="deploy"
    ),
    _Progress(r"-----> Deploying (\S+) \(count=\d+\)", _RELEASE, step="starting {}"),
    _Progress(
        r"(?: {7}|-----> )Attempting pre-flight checks \((\S+)\)",
        _RELEASE,
        marker=LogMarker.CHECKING,
        step="health checks of {}",
    ),
    _Progress(r"-----> Executing \d+ healthchecks", _RELEASE, marker=LogMarker.CHECKING),
    _Progress(
        r"=====> Triggering early \S+ proxy rebuild",
        _RELEASE,
        marker=LogMarker.SWITCHING,
        step="switching the proxy",
    ),
    _Progress(
        r"-----> Running post-deploy", _RELEASE, marker=LogMarker.POST_DEPLOY, step="post-deploy"
    ),
    _Progress(
        r"=====> Application deployed:$", _RELEASE, marker=LogMarker.DEPLOYED, step="finishing"
    ),
)
_PROGRESS = (*FETCH_PROGRESS, *BUILDER_PROGRESS, *RELEASE_PROGRESS)

FETCH_CAUSES = (
    _Cause(
        r" !     {app} currently has a deploy lock in place\. Exiting\.\.\.$",
        _EARLY,
        90,
        LogMarker.LOCKED,
    ),
    _Cause(r" !     App {app} does not exist$", frozenset({None}), 90, LogMarker.APP_MISSING),
    _Cause(r"fatal: .*\^\{commit\}: not a valid SHA1$", _EARLY, 85, LogMarker.REF_MISSING),
    _Cause(r"error: pathspec '.*' did not match any file", _EARLY, 85, LogMarker.REF_MISSING),
    _Cause(
        r"fatal: (?:couldn't find remote ref |Remote branch .* not found in upstream"
        r"|reference is not a tree|bad object |Needed a single revision|ambiguous argument "
        r"|remote error: upload-pack: not our ref)",
        _EARLY,
        85,
        LogMarker.REF_MISSING,
    ),
    _Cause(r"Cannot connect to the Docker daemon", _EARLY, 95, LogMarker.DOCKER_DOWN),
    # The server's own disk or locks, not the repository.
    _Cause(
        r"(?:fatal|error): .*(?:No space left|cannot lock ref|[Uu]nable to (?:create|write)"
        r"|write error|[Oo]ut of memory)",
        _EARLY,
        80,
    ),
    _Cause(
        r"(?:ssh: |ERROR: |Host key verification failed|\S+: Permission denied \()",
        _EARLY,
        75,
        LogMarker.REPO_UNREACHABLE,
    ),
    _Cause(r"fatal: Could not read from remote", _EARLY, 40, LogMarker.REPO_UNREACHABLE),
    _Cause(r"fatal: ", _EARLY, 60, LogMarker.REPO_UNREACHABLE),
)
BUILD_CAUSES = (
    _Cause(r"ERROR: failed to (?:solve|build)", _BUILD, 75, LogMarker.BUILD_FAILED),
    _Cause(r"ERROR: ", _BUILD, 60, LogMarker.BUILD_FAILED),
    _Cause(r" !     App build failed$", _BUILD, 30, LogMarker.BUILD_FAILED),
)
RELEASE_CAUSES = (
    _Cause(r" !     Failure in name=", _RELEASE, 80, LogMarker.CHECKS_FAILED),
    _Cause(
        r" !     Could not start due to \d+ failed checks", _RELEASE, 70, LogMarker.CHECKS_FAILED
    ),
    # The text before checks came from app.json (Dokku's source, check-deploy).
    _Cause(r" !     App container failed to start", _RELEASE, 70, LogMarker.CHECKS_FAILED),
    _Cause(r" !     Execution of \S+ task failed", _RELEASE, 80, LogMarker.RELEASE_FAILED),
    _Cause(r"parallel: This job failed:", _RELEASE, 20, LogMarker.RELEASE_FAILED),
)
OTHER_CAUSES = (
    # Without a marker: Dokku and the build say themselves what failed because of it.
    _Cause(r"Cannot connect to the Docker daemon", _BUILD | _RELEASE, 95),
    _Cause(
        r"Error response from daemon: No command specified",
        _BUILD | _RELEASE,
        85,
        LogMarker.NO_COMMAND,
    ),
    _Cause(r"Error response from daemon: ", _BUILD | _RELEASE, 50),
    # Any other complaint of Dokku before it has begun is a refusal.
    _Cause(r" !     ", frozenset({None}), 50, LogMarker.REFUSED),
    _Cause(r" !     ", _ANY, _ANY_COMPLAINT),
)
_CAUSES = (*FETCH_CAUSES, *BUILD_CAUSES, *RELEASE_CAUSES, *OTHER_CAUSES)

NOT_A_CAUSE = re.compile(
    r" !     (?:No healthchecks found|No web listeners|Retagging |Removing invalid image"
    r"|Run 'apps:unlock'|Failed to rename container|App has been detected as not running"
    r"|Skipping \S+ as it is missing|Detected |Ensure the default|Deprecat|Warning|WARNING)"
)

_STARTED = r"=====> Start of {app} container output \(([0-9a-f]{12}) (\S+)\)$"
_ENDED = r"=====> End of {app} container output \("
# A container that takes its final name. An old one was renamed to a time stamp before; the
# container of an outside restart comes back from one.
_RENAMED = r" {7}Renaming container {app}\.(\S+)\.upcoming-\d+ \(([0-9a-f]{12})\) to {app}\.\1$"
# Then Dokku prints the server's own address behind `Application deployed:`, not the app's.
_NO_PROXY = r"-----> Nginx support is disabled for app \({app}\)$"
_BLOCK_BEGINS = re.compile(r"=====> Start (?:of )?(.+)$")
_BLOCK_ENDS = re.compile(r"=====> End (?:of )?(.+)$")
_HEADING = re.compile(r"[-=]{5}> ")
_URL = re.compile(r" {7}(https?://\S+)$")
# The variable parts between the fixed texts of a pattern.
_VARIABLE = re.compile(r"\(\?:|\.\*|\\[dS]\+|\\1|\[[^\]]*\](?:\{\d+\})?|\{7\}|[|$]|(?<!\\)[()]")


def fixed_texts(app: str) -> str:
    """The fixed texts of the lines that are read here, one a line: they hold no secret.

    If one were masked, the stored lines would no longer state their facts.
    """
    patterns = [*(one.pattern for one in (*_PROGRESS, *_CAUSES)), _STARTED, _ENDED, _RENAMED]
    patterns.append(_NO_PROXY)
    fixed = [_VARIABLE.sub("\n", one.replace("{app}", app)) for one in patterns]
    return "\n".join(re.sub(r"\\(.)", r"\1", one) for one in fixed)


class LogReader:
    """Collects the facts of one deploy of one app, line by line. No fact is taken back."""

    def __init__(self, app: str) -> None:
        self._progress = tuple((_compiled(row.pattern, app), row) for row in _PROGRESS)
        self._causes = tuple((_compiled(row.pattern, app), row) for row in _CAUSES)
        self._started_line = _compiled(_STARTED, app)
        self._renamed_line = _compiled(_RENAMED, app)
        self._markers: set[LogMarker] = set()
        self._phase: Phase | None = None
        self._step: str | None = None
        self._started: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        self._no_proxy_line = _compiled(_NO_PROXY, app)
        self._has_proxy = True
        self._url: str | None = None
        self._error: str | None = None
        self._rank = 0
        self._blocks: set[str] = set()
        self._facts: LogFacts | None = None

    @property
    def facts(self) -> LogFacts:
        """The facts of the lines so far."""
        if self._facts is None:
            self._facts = LogFacts(
                markers=frozenset(self._markers),
                phase=self._phase,
                step=self._step,
                started=frozenset(self._started) | self._unchecked(),
                renamed=frozenset(self._renamed),
                url=self._url if self._has_proxy else None,
                error=self._error,
            )
        return self._facts

    def feed(self, lines: Iterable[Line]) -> None:
        """Read more lines."""
        for line in lines:
            # A further piece of a very long line is not a line.
            if line.starts and line.text:
                self._read(line)
                self._facts = None

    def _read(self, line: Line) -> None:
        text = line.text
        heading = _HEADING.match(text) is not None
        if heading and self._note_block(text):
            return
        if heading:
            self._blocks.clear()
            self._has_proxy = self._has_proxy and not self._no_proxy_line.match(text)
        elif self._blocks and text.startswith("       "):
            return
        if _prefilter(self._phase).match(text) and not self._note_progress(text, line.shown):
            self._note_cause(text, line.shown)

    def _note_block(self, text: str) -> bool:
        """Note a Start or End line: the lines between them are the container's, not Dokku's."""
        begins = _BLOCK_BEGINS.match(text)
        ends = _BLOCK_ENDS.match(text)
        if begins:
            self._blocks.add(begins[1])
            container = self._started_line.match(text)
            if container and self._phase is Phase.RELEASING:
                self._started[container[1]] = container[2]
        if ends:
            self._blocks.discard(ends[1])
        return bool(begins or ends)

    def _note_progress(self, text: str, shown: str) -> bool:
        if LogMarker.DEPLOYED in self._markers and self._url is None and _URL.match(text):
            url = _URL.match(shown)
            self._url = url[1] if url and MASK not in url[1] else None
            return True
        renamed = self._renamed_line.match(text)
        if renamed and self._phase is Phase.RELEASING:
            self._renamed[renamed[2]] = renamed[1]
            return True
        for pattern, row in self._progress:
            match = pattern.match(text)
            if match is None or self._phase not in row.during:
                continue
            if row.marker is not None:
                self._markers.add(row.marker)
            if row.phase is not None and row.phase is not self._phase:
                self._phase, self._step = row.phase, None
            # The step is shown to people, so its words come from the redacted line.
            words = pattern.match(shown)
            if row.step is not None and words is not None:
                self._step = row.step.format(*words.groups())
            return True
        return False

    def _note_cause(self, text: str, shown: str) -> None:
        if NOT_A_CAUSE.match(text):
            return
        for pattern, row in self._causes:
            if self._phase not in row.during or pattern.match(text) is None:
                continue
            if row.marker is not None:
                self._markers.add(row.marker)
            if row.rank > self._rank or row.rank == _ANY_COMPLAINT == self._rank:
                self._rank = row.rank
                self._error = shown.removeprefix(" !     ").strip()[:_ERROR_CHARS]
            return

    def _unchecked(self) -> frozenset[str]:
        """Containers of process types whose checks are off, beside others that were checked.

        They have no Start line; where nothing was checked, `renamed` names all of them.
        """
        if not self._started:
            return frozenset()
        checked = {process.rpartition(".")[0] for process in self._started.values()}
        return frozenset(
            container
            for container, process in self._renamed.items()
            if process.rpartition(".")[0] not in checked
        )


@cache
def _prefilter(phase: Phase | None) -> re.Pattern[str]:
    """One pattern that matches every line with a fact in this phase, of any app.

    Hardly any line of a build matches, and a build may print millions.
    """
    patterns = [one.pattern for one in (*_PROGRESS, *_CAUSES) if phase in one.during]
    if phase is Phase.RELEASING:
        patterns += [_RENAMED.replace(r"\1", r"\S+"), _URL.pattern]
    return re.compile("|".join(patterns).replace("{app}", r"\S+"))


def _compiled(pattern: str, app: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("{app}", re.escape(app)))
