"""Read facts from the lines of a deploy's output: the log markers, which only Dokku prints.

Dokku's own lines begin with `-----> `, `=====> `, ` !     ` or seven blanks; git and Docker add
`fatal: `, `error: `, `ERROR: `. The output of a build or a container is recognised by its margin
(`#8 1.2 `, or seven blanks between a Start and an End line) and by the phase: a refusal is only
believed before the build, a failed check only after it. Measured on Dokku 0.35.20 and 0.38.27.

The tables are in `log_rows.py`.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from bot.deployments.excerpt import WINDOW, Explanation, explain
from bot.deployments.model import LogFacts, LogMarker, Phase
from bot.dokku.log_rows import (
    BUILD_GOES_ON,
    BUILD_STEP,
    BUILDER_GIVES_UP,
    BUILDPACK_PHASE,
    CAUSES,
    FETCH_GOES_ON,
    NAMED_STEP,
    NOT_A_CAUSE,
    OVER,
    PACK_PHASE,
    PROGRESS,
)
from bot.redaction_rules import MASK

_STEP_CHARS = 60
_ERROR_CHARS = 500
_BLOCK_LINES = 60
"""Of a container's output that are read for the reason: a crash loop prints thousands."""


class Line(NamedTuple):
    """One line, or one piece of a very long one. A tuple: a build may print millions."""

    text: str
    """Clean, *not* redacted: only for reading facts, never stored or shown."""
    shown: str
    """Clean and redacted."""
    starts: bool = True
    """False: it continues the line before."""


_STARTED = r"=====> Start of {app} container output \(([0-9a-f]{12}) (\S+)\)$"
_ENDED = r"=====> End of {app} container output \("
# A container that takes its final name. An old one was renamed to a time stamp before; the
# container of an outside restart comes back from one.
_RENAMED = r" {7}Renaming container {app}\.(\S+)\.upcoming-\d+ \(([0-9a-f]{12})\) to {app}\.\1$"
# Then Dokku prints the server's own address behind `Application deployed:`, not the app's.
_NO_PROXY = r"-----> Nginx support is disabled for app \({app}\)$"
# Printed for each domain of the app. With domains off there is none: the address is the server's.
_CONFIGURED = re.compile(r"-----> Configuring (\S+)\.\.\.\(using")
_CONFIGURES = re.compile(r"-----> Creating https? nginx\.conf$")
_BLOCK_BEGINS = re.compile(r"=====> Start (?:of )?(.+)$")
_BLOCK_ENDS = re.compile(r"=====> End (?:of )?(.+)$")
_HEADING = re.compile(r"[-=]{5}> ")
_URL = re.compile(r" {7}(https?://\S+)$")
# The variable parts between the fixed texts of a pattern.
_VARIABLE = re.compile(r"\(\?:|\.\*|\\[dS]\+|\\1|\[[^\]]*\](?:\{\d+\})?|\{7\}|[|$]|(?<!\\)[()]")


def _host_of(url: str) -> str:
    """The host that a line with an address names; empty for none."""
    found = re.search(r"https?://([^/:\s]+)", url)
    return found[1].lower() if found else ""


def fixed_texts(app: str) -> str:
    """The fixed texts of the lines that are read here, one a line: they hold no secret.

    If one were masked, the stored lines would no longer state their facts.
    """
    patterns = [*(one.pattern for one in (*PROGRESS, *CAUSES)), _STARTED, _ENDED, _RENAMED]
    patterns += [_NO_PROXY, _CONFIGURED.pattern, _CONFIGURES.pattern]
    fixed = [_VARIABLE.sub("\n", one.replace("{app}", app)) for one in patterns]
    return "\n".join(re.sub(r"\\(.)", r"\1", one) for one in fixed)


class LogReader:
    """Collects the facts of one deploy of one app, line by line.

    Only a failure is taken back, where the output shows that the deploy went on.
    """

    def __init__(self, app: str) -> None:
        self._progress = tuple((_compiled(row.pattern, app), row) for row in PROGRESS)
        self._causes = tuple((_compiled(row.pattern, app), row) for row in CAUSES)
        self._started_line = _compiled(_STARTED, app)
        self._renamed_line = _compiled(_RENAMED, app)
        self._markers: set[LogMarker] = set()
        self._phase: Phase | None = None
        self._step: str | None = None
        self._started: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        self._no_proxy_line = _compiled(_NO_PROXY, app)
        self._has_proxy = True
        self._configures = False
        self._domains: set[str] = set()
        """Domains of the app that the proxy was configured for, in this deploy."""
        self._url: str | None = None
        self._builder = ""
        self._stages: dict[str, tuple[int, int]] = {}
        self._vertex = 0
        self._complained = False
        self._builder_gave_up = False
        self._docker_was_down = False
        self._recent: list[str] = []
        self._in_block = 0
        self._blocks: set[str] = set()
        self._facts: LogFacts | None = None

    @property
    def facts(self) -> LogFacts:
        """The facts of the lines so far."""
        if self._facts is None:
            told = explain(self._recent, self._phase) if self._complained else Explanation()
            self._facts = LogFacts(
                markers=frozenset(self._markers),
                phase=self._phase,
                step=self._step,
                started=frozenset(self._started) | self._unchecked(),
                renamed=frozenset(self._renamed),
                url=self._url if self._has_proxy else None,
                error=told.reason,
                trouble=told.trouble,
            )
        return self._facts

    def feed(self, lines: Iterable[Line]) -> None:
        """Read more lines."""
        for line in lines:
            # A further piece of a very long line is not a line.
            if line.starts and line.text:
                self._read(line)
                self._remember(line.shown)
                self._facts = None

    def _remember(self, shown: str) -> None:
        if shown.isspace():
            return
        self._in_block = self._in_block + 1 if self._blocks else 0
        if self._in_block > _BLOCK_LINES:
            del self._recent[-_BLOCK_LINES]
        self._recent.append(shown[:_ERROR_CHARS])
        if len(self._recent) > 2 * WINDOW:
            del self._recent[:WINDOW]

    def _read(self, line: Line) -> None:
        text = line.text
        heading = _HEADING.match(text) is not None
        if heading and self._note_block(text):
            return
        if self._phase is Phase.FETCHING and FETCH_GOES_ON.match(text):
            self._markers.discard(LogMarker.REPO_UNREACHABLE)
        if heading:
            self._blocks.clear()
            self._note_proxy(text)
        elif self._blocks and (
            text.startswith("       ")
            # What a task prints to stderr.
            or (text.startswith(" !     ") and any(" task " in block for block in self._blocks))
        ):
            return
        if self._phase is Phase.BUILDING and not text.isspace():
            self._note_build_end(text)
            if text.startswith(("#", "===> ", "-----> ")):
                self._note_build_step(text, line.shown)
        if _prefilter(self._phase).match(text) and not self._note_progress(text, line.shown):
            self._note_cause(text)

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

    def _note_build_end(self, text: str) -> None:
        if text.startswith(" !"):
            if self._builder_gave_up:
                self._markers.add(LogMarker.BUILD_FAILED)
        elif LogMarker.BUILD_FAILED in self._markers and BUILD_GOES_ON.match(text):
            self._markers.discard(LogMarker.BUILD_FAILED)
        self._builder_gave_up = text[0] in "EfT" and BUILDER_GIVES_UP.match(text) is not None

    def _note_build_step(self, text: str, shown: str) -> None:
        """Note where a build is. Several stages at once count as one, so no step goes back."""
        if step := BUILD_STEP.match(text):
            names = [name for name in (step[1] or "").split() if "/" not in name]  # no platforms
            stage = names[-1] if names else ""
            now, of = self._stages.get(stage, (0, 0))
            self._stages[stage] = max(now, int(step[2])), max(of, int(step[3]))
            done, whole = (sum(counts) for counts in zip(*self._stages.values(), strict=True))
            self._step = f"step {done} of {whole}"
            return
        named = None
        if "railpack" in self._builder:
            vertex = NAMED_STEP.match(shown)
            # A step that goes on after another one is printed again.
            if vertex and int(vertex[1]) > self._vertex:
                self._vertex, named = int(vertex[1]), vertex[2]
        elif phase := PACK_PHASE.match(shown):
            self._step = phase[1].lower()
        elif "herokuish" in self._builder or "lambda" in self._builder:
            phase = BUILDPACK_PHASE.match(shown)
            named = phase and phase[1]
        if named:
            self._step = named.strip(" .")[:_STEP_CHARS]

    def _note_proxy(self, text: str) -> None:
        """What Dokku says of the app's proxy: the address below is the app's only behind it."""
        self._has_proxy = self._has_proxy and not self._no_proxy_line.match(text)
        self._configures = self._configures or _CONFIGURES.match(text) is not None
        if domain := _CONFIGURED.match(text):
            self._domains.add(domain[1].lower())

    def _note_progress(self, text: str, shown: str) -> bool:
        if LogMarker.DEPLOYED in self._markers and self._url is None and _URL.match(text):
            url = _URL.match(shown)
            is_own = not self._configures or _host_of(shown) in self._domains
            self._url = url[1] if url and MASK not in url[1] and is_own else None
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
                self._markers -= OVER[row.phase]
                self._complained = self._builder_gave_up = False
                self._builder = text[match.end() :]
            # The step is shown to people, so its words come from the redacted line.
            words = pattern.match(shown)
            if row.step is not None and words is not None:
                self._step = row.step.format(*words.groups())
            return True
        return False

    def _note_cause(self, text: str) -> None:
        if NOT_A_CAUSE.match(text):
            return
        for pattern, row in self._causes:
            if self._phase not in row.during or pattern.match(text) is None:
                continue
            self._complained = True
            if row.marker is not None:
                self._markers.add(row.marker)
            if "Cannot connect to the Docker daemon" in text:
                # A build may say the same of another Docker.
                if self._phase is Phase.BUILDING and self._docker_was_down:
                    self._markers.add(LogMarker.DOCKER_DOWN)
                self._docker_was_down = self._phase is not Phase.RELEASING
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
    patterns = [one.pattern for one in (*PROGRESS, *CAUSES) if phase in one.during]
    if phase is Phase.RELEASING:
        patterns += [_RENAMED.replace(r"\1", r"\S+"), _URL.pattern]
    return re.compile("|".join(patterns).replace("{app}", r"\S+"))


def _compiled(pattern: str, app: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("{app}", re.escape(app)))
