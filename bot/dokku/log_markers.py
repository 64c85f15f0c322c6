"""Reads facts from the lines of a deploy's output: what Dokku itself says, and nothing else says.

Dokku's own lines begin with `-----> `, `=====> `, ` !     ` or seven blanks; git and Docker add
`fatal: `, `error: `, `ERROR: `. What a build or a container prints is told apart by its margin
(`#8 1.2 `, or seven blanks between a Start and an End line) and by the phase: a refusal is only
believed before the build, a failed check only after it. Measured on Dokku 0.35.20 and 0.38.27.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from bot.deployments.model import LogFacts, LogMarker, Phase
from bot.dokku.output import Line
from bot.redaction_rules import MASK

_ERROR_CHARS = 500
_LAST_WORDS = 10
"""Rank of what nobody knows as a cause: Dokku warns and goes on, or fails and goes; so the last of
these counts, where of others the first does."""
_EARLY: frozenset[Phase | None] = frozenset({None, Phase.FETCHING})
_BUILD: frozenset[Phase | None] = frozenset({Phase.BUILDING})
_RELEASE: frozenset[Phase | None] = frozenset({Phase.RELEASING})
_ANY: frozenset[Phase | None] = frozenset({None, Phase.FETCHING, Phase.BUILDING, Phase.RELEASING})


@dataclass(frozen=True, slots=True)
class _Stage:
    """A line that says how far the deploy is. `{app}` is filled in; groups go into the step."""

    pattern: str
    during: frozenset[Phase | None]
    phase: Phase | None = None
    mark: LogMarker | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class _Cause:
    """A line that says why it failed. Of several causes the one with the highest rank is kept."""

    pattern: str
    during: frozenset[Phase | None]
    rank: int
    mark: LogMarker | None = None


_STAGES = (
    _Stage(r"-----> Cloning {app} from ", _EARLY, Phase.FETCHING, LogMarker.FETCHING, "cloning"),
    _Stage(r" {7}Fetching remote code for {app} from ", _EARLY, Phase.FETCHING, LogMarker.FETCHING),
    _Stage(
        r" {7}Skipping build as no changes were detected$",
        frozenset({Phase.FETCHING}),
        mark=LogMarker.BUILD_SKIPPED,
    ),
    _Stage(r"-----> Building {app} from ", _EARLY, Phase.BUILDING, LogMarker.BUILDING),
    _Stage(r"#\d+ \[(?:\S+ )?(\d+)/(\d+)\] ", _BUILD, step="step {} of {}"),
    _Stage(r"Step (\d+)/(\d+) : ", _BUILD, step="step {} of {}"),
    _Stage(r"#\d+ exporting to image$", _BUILD, step="exporting the image"),
    _Stage(
        r"-----> Skipping deployment",
        frozenset({Phase.BUILDING, Phase.RELEASING}),
        mark=LogMarker.DEPLOY_SKIPPED,
    ),
    # A builder of somebody's own need not say that it builds.
    _Stage(
        r"-----> Releasing {app}\.\.\.$",
        _EARLY | _BUILD,
        Phase.RELEASING,
        LogMarker.RELEASING,
        "release",
    ),
    _Stage(r"-----> Executing (\S+) task from ", _RELEASE, step="{} task"),
    _Stage(r"-----> Deploying {app} via the ", _RELEASE, mark=LogMarker.DEPLOYING, step="deploy"),
    _Stage(r"-----> Deploying (\S+) \(count=\d+\)", _RELEASE, step="starting {}"),
    _Stage(
        r"(?: {7}|-----> )Attempting pre-flight checks \((\S+)\)",
        _RELEASE,
        mark=LogMarker.CHECKING,
        step="health checks of {}",
    ),
    _Stage(r"-----> Executing \d+ healthchecks", _RELEASE, mark=LogMarker.CHECKING),
    _Stage(
        r"=====> Triggering early \S+ proxy rebuild",
        _RELEASE,
        mark=LogMarker.SWITCHING,
        step="switching the proxy",
    ),
    _Stage(r"-----> Running post-deploy", _RELEASE, mark=LogMarker.POST_DEPLOY, step="post-deploy"),
    _Stage(r"=====> Application deployed:$", _RELEASE, mark=LogMarker.DEPLOYED, step="finishing"),
)

_NO_CAUSE = re.compile(
    r" !     (?:No healthchecks found|No web listeners|Retagging |Removing invalid image"
    r"|Run 'apps:unlock'|Failed to rename container|App has been detected as not running"
    r"|Skipping \S+ as it is missing|Detected |Ensure the default|Deprecat|Warning|WARNING)"
)
_CAUSES = (
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
    # Before the build; later, Dokku and the build say themselves what failed for it.
    _Cause(r"Cannot connect to the Docker daemon", _EARLY, 95, LogMarker.DOCKER_DOWN),
    _Cause(r"Cannot connect to the Docker daemon", _BUILD | _RELEASE, 95),
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
    _Cause(r" !     Failure in name=", _RELEASE, 80, LogMarker.CHECKS_FAILED),
    _Cause(
        r" !     Could not start due to \d+ failed checks", _RELEASE, 70, LogMarker.CHECKS_FAILED
    ),
    # In so many words before checks came from app.json (Dokku's source, check-deploy).
    _Cause(r" !     App container failed to start", _RELEASE, 70, LogMarker.CHECKS_FAILED),
    _Cause(r" !     Execution of \S+ task failed", _RELEASE, 80, LogMarker.RELEASE_FAILED),
    _Cause(r"parallel: This job failed:", _RELEASE, 20, LogMarker.RELEASE_FAILED),
    _Cause(r"ERROR: failed to (?:solve|build)", _BUILD, 75, LogMarker.BUILD_FAILED),
    _Cause(r"ERROR: ", _BUILD, 60, LogMarker.BUILD_FAILED),
    _Cause(r" !     App build failed$", _BUILD, 30, LogMarker.BUILD_FAILED),
    _Cause(
        r"Error response from daemon: No command specified",
        _BUILD | _RELEASE,
        85,
        LogMarker.NO_COMMAND,
    ),
    _Cause(r"Error response from daemon: ", _BUILD | _RELEASE, 50),
    # Whatever else Dokku complains of before it has begun is a refusal.
    _Cause(r" !     ", frozenset({None}), 50, LogMarker.REFUSED),
    _Cause(r" !     ", _ANY, _LAST_WORDS),
)
_STARTED = r"=====> Start of {app} container output \(([0-9a-f]{12}) (\S+)\)$"
_ENDED = r"=====> End of {app} container output \("
# A container that takes its final name. An old one is renamed to a time stamp before; a foreign
# restart's container comes back from one.
_RENAMED = r" {7}Renaming container {app}\.(\S+)\.upcoming-\d+ \(([0-9a-f]{12})\) to {app}\.\1$"
_BLOCK_BEGINS = re.compile(r"=====> Start (?:of )?(.+)$")
_BLOCK_ENDS = re.compile(r"=====> End (?:of )?(.+)$")
_OWN = re.compile(r"[-=]{5}> ")
_URL = re.compile(r" {7}(https?://\S+)$")
# What stands between the fixed texts of a pattern.
_OPEN = re.compile(r"\(\?:|\.\*|\\[dS]\+|\\1|\[[^\]]*\](?:\{\d+\})?|\{7\}|[|$]|(?<!\\)[()]")


def spoken(app: str) -> str:
    """The fixed texts of the lines that are read here, a line each: no secret can be in them.

    Were one masked, what a log states would be lost to whoever reads the kept lines.
    """
    patterns = [*(one.pattern for one in (*_STAGES, *_CAUSES)), _STARTED, _ENDED, _RENAMED]
    fixed = [_OPEN.sub("\n", one.replace("{app}", app)) for one in patterns]
    return "\n".join(re.sub(r"\\(.)", r"\1", one) for one in fixed)


class LogReader:
    """Collects the facts of one deploy of one app, line by line. They only ever grow."""

    def __init__(self, app: str) -> None:
        self._stages = tuple((_compiled(stage.pattern, app), stage) for stage in _STAGES)
        self._causes = tuple((_compiled(cause.pattern, app), cause) for cause in _CAUSES)
        self._started_line = _compiled(_STARTED, app)
        self._renamed_line = _compiled(_RENAMED, app)
        self._marks: set[LogMarker] = set()
        self._phase: Phase | None = None
        self._step: str | None = None
        self._started: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        self._url: str | None = None
        self._error: str | None = None
        self._rank = 0
        self._blocks: set[str] = set()
        self._facts: LogFacts | None = None

    @property
    def facts(self) -> LogFacts:
        """What the lines so far state."""
        if self._facts is None:
            self._facts = LogFacts(
                markers=frozenset(self._marks),
                phase=self._phase,
                step=self._step,
                started=frozenset(self._started) | self._unchecked(),
                renamed=frozenset(self._renamed),
                url=self._url,
                error=self._error,
            )
        return self._facts

    def feed(self, lines: Iterable[Line]) -> None:
        """Read more lines."""
        for line in lines:
            # The rest of a very long line is not the beginning of one.
            if line.starts and line.text:
                self._read(line)
                self._facts = None

    def _read(self, line: Line) -> None:
        text = line.text
        own = _OWN.match(text) is not None
        if own and self._note_block(text):
            return
        if own:
            self._blocks.clear()
        elif self._blocks and text.startswith("       "):
            return
        if _telling(self._phase).match(text) and not self._note_stage(text, line.shown):
            self._note_cause(text, line.shown)

    def _note_block(self, text: str) -> bool:
        """Lines between a Start and an End line are the container's, not Dokku's."""
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

    def _note_stage(self, text: str, shown: str) -> bool:
        if LogMarker.DEPLOYED in self._marks and self._url is None and _URL.match(text):
            url = _URL.match(shown)
            self._url = url[1] if url and MASK not in url[1] else None
            return True
        renamed = self._renamed_line.match(text)
        if renamed and self._phase is Phase.RELEASING:
            self._renamed[renamed[2]] = renamed[1]
            return True
        for pattern, stage in self._stages:
            match = pattern.match(text)
            if match is None or self._phase not in stage.during:
                continue
            if stage.mark is not None:
                self._marks.add(stage.mark)
            if stage.phase is not None and stage.phase is not self._phase:
                self._phase, self._step = stage.phase, None
            # Words out of the line reach people, so they come from what may be shown.
            words = pattern.match(shown)
            if stage.step is not None and words is not None:
                self._step = stage.step.format(*words.groups())
            return True
        return False

    def _note_cause(self, text: str, shown: str) -> None:
        if _NO_CAUSE.match(text):
            return
        for pattern, cause in self._causes:
            if self._phase not in cause.during or pattern.match(text) is None:
                continue
            if cause.mark is not None:
                self._marks.add(cause.mark)
            if cause.rank > self._rank or cause.rank == _LAST_WORDS == self._rank:
                self._rank = cause.rank
                self._error = shown.removeprefix(" !     ").strip()[:_ERROR_CHARS]
            return

    def _unchecked(self) -> frozenset[str]:
        """Containers of process types whose checks are off, beside others that were checked.

        They have no Start line of their own; where nothing was checked, `renamed` says all.
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
def _telling(phase: Phase | None) -> re.Pattern[str]:
    """The beginnings of all lines that tell anything in a phase, of whatever app.

    Nearly every line of a build is none of them, and a build may print millions.
    """
    patterns = [one.pattern for one in (*_STAGES, *_CAUSES) if phase in one.during]
    if phase is Phase.RELEASING:
        patterns += [_RENAMED.replace(r"\1", r"\S+"), _URL.pattern]
    return re.compile("|".join(patterns).replace("{app}", r"\S+"))


def _compiled(pattern: str, app: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("{app}", re.escape(app)))
