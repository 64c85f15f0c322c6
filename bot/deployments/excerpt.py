"""Why a deploy failed, by its own output: the line that says most, and the lines around it. Pure.

Structure comes first: only the last phase counts; in a build the failed BuildKit step's own block,
or the failed step of Docker's classic builder; after a release the output of the task or container
that failed. Then likelihood: the best line by the ranks of `log_lines`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.deployments.dokku_facts import Trouble
from bot.deployments.log_lines import (
    AFTERMATH,
    DECISIVE,
    FETCH_RANKS,
    LINE_RANKS,
    RELEASE_RANKS,
    SPECIFIC,
    Ranks,
    bare,
    is_noise,
    rank,
    trouble_of,
)
from bot.deployments.model import Phase

MOST = 10
WINDOW = 400
"""Last lines that are read: what failed is near the end."""
_BEFORE = 5
_CHARS = 500
"""Of a line that is read: more than any error's beginning."""

_PHASES = (
    (re.compile(r"-----> Releasing \S+\.\.\.$"), Phase.RELEASING),
    (re.compile(r"-----> Building \S+ from "), Phase.BUILDING),
    (re.compile(r"-----> Cloning \S+ from | {7}Fetching remote code for "), Phase.FETCHING),
)
_HEADS = ("-----> ", "       Fetching ")
"""How the lines of `_PHASES` begin; hardly any other line does."""
_STEP = re.compile(r"#(\d{1,6}) (?:(\d{1,7}\.\d{1,4}) ?)?(?=(.*))")
_STEP_FAILED = re.compile(r"ERROR: (?!.*(?:context canceled|CANCELED))")
_SILENT_FAILURE = re.compile(
    r"ERROR: (?:process |executor failed running )|.*did not complete successfully: exit code"
)
_CLASSIC_STEP = re.compile(r"Step \d+/\d+ : ")
_CLASSIC_FAILED = re.compile(r"The command '.*' returned a non-zero code: \d+$")
_BUILDER_ENDS = re.compile(
    r"(?:ERROR: )?failed to (?:solve|build|receive)\b|The command '.*' returned a non-zero code"
)
_STAMP = re.compile(r"\d{1,7}\.\d{1,4} ")
_BLANKS = re.compile(r" {3,}|\t+")
_RULE = re.compile(r"-{4,}$")
_BLOCK = re.compile(
    r"=====> (Start|End) (?:of )?([^(]{1,200})(?:\([^ )]{1,80}(?: ([^ )]{1,200}))?\))?(?: output)?$"
)
_FAILED_PROCESS = re.compile(r" !     Could not start due to \d+ failed checks \((\S+)\)")
_TASK_FAILED = re.compile(r" !     Execution of (\S+) task failed")
_CHECK_FAILED = re.compile(
    r" !     (?:Failure in name=|Could not start due to|App container failed)"
)
_NOT_RUNNING = re.compile(
    r"is not running|has restarted|no process listening|exited|restarting|state=dead"
    r"|connection refused|failed to start"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the output says about a failure."""

    reason: str | None = None
    """The line that says most, without its margin; None: no line says why."""
    place: int | None = None
    """The reason's index in the lines."""
    trouble: Trouble | None = None
    """What it is about, where the remedy is known."""
    excerpt: tuple[str, ...] = ()
    """Up to 10 lines that show why."""


@dataclass(slots=True)
class _Line:
    """A line that may say why."""

    at: int
    body: str
    """Without its margin."""
    rank: int = 0


@dataclass(slots=True)
class _Block:
    """The output of one container or task."""

    title: str
    process: str | None
    begin: int
    end: int
    lines: list[_Line] = field(default_factory=list)


def explain(lines: Sequence[str], phase: Phase | None = None) -> Explanation:
    """Choose the reason and the lines to show, from the last lines of a deploy's output.

    `phase`: of the last line, where its heading may be further away than the lines that are read.
    """
    first = max(0, len(lines) - WINDOW)
    read = [line[:_CHARS] for line in lines[first:]]
    begin, phase = _last_phase(read, phase)
    match phase:
        case Phase.BUILDING:
            found, shown = _of_build(read, begin)
        case Phase.RELEASING:
            found, shown = _of_release(read, begin)
        case _:
            found, shown = _of_scope(read, begin, FETCH_RANKS)
    if found is None:
        return Explanation(excerpt=_tail(lines))
    return Explanation(
        reason=_BLANKS.sub("  ", found.body),
        place=first + found.at,
        trouble=trouble_of(found.body, before_build=phase not in {Phase.BUILDING, Phase.RELEASING}),
        excerpt=tuple(lines[first + at] for at in sorted(set(shown)))[:MOST],
    )


def around_error(lines: Sequence[str], error: str | None) -> tuple[str, ...]:
    """Up to 10 lines that show why a deploy failed; without an error, the last lines.

    `error` is the line that names the cause, or a sentence that holds it.
    """
    if not error:
        return _tail(lines)
    explained = explain(lines)
    if explained.reason is not None and explained.reason in error:
        return explained.excerpt
    kept = [line for line in lines if line.strip()]
    for place in range(len(kept) - 1, -1, -1):
        if error in kept[place] or kept[place].strip() in error:
            begin = max(0, min(place - _BEFORE, len(kept) - MOST))
            return tuple(kept[begin : begin + MOST])
    return _tail(lines)


def container_spoke(lines: Sequence[str]) -> bool:
    """Whether Dokku printed anything that a container of the release said."""
    read = [line[:_CHARS] for line in lines[-WINDOW:]]
    _, blocks = _blocks(read, _last_phase(read, None)[0])
    return any("container" in block.title and block.lines for block in blocks)


def _tail(lines: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for line in reversed(lines):
        if line.strip():
            kept.append(line)
            if len(kept) == MOST:
                break
    return tuple(reversed(kept))


def _last_phase(read: Sequence[str], known: Phase | None) -> tuple[int, Phase | None]:
    """Where the last phase begins: what was printed before it is over."""
    for at in range(len(read) - 1, -1, -1):
        if not read[at].startswith(_HEADS):
            continue
        for heading, phase in _PHASES:
            if heading.match(read[at]):
                return at, phase
    if known or len(read) < WINDOW:
        return 0, known
    # It began before the lines that are read: their own marks name it.
    released = any(
        _BLOCK.match(line) or _CHECK_FAILED.match(line) or _TASK_FAILED.match(line) for line in read
    )
    return 0, Phase.RELEASING if released else Phase.BUILDING


def _ranked(read: Sequence[str], places: Sequence[int], ranks: Ranks) -> list[_Line]:
    """The lines at these places that may say why, with their ranks."""
    found = []
    for at in places:
        body = bare(read[at])
        if body and not is_noise(body):
            found.append(_Line(at, body, rank(read[at], body, ranks)))
    return found


def _best(lines: Sequence[_Line], *, last: bool = False) -> _Line | None:
    best: _Line | None = None
    for line in lines:
        if line.rank and (best is None or line.rank > best.rank - last):
            best = line
    return best


def _window(lines: Sequence[_Line], found: _Line, most: int = MOST) -> list[int]:
    """The places around a line, without noise."""
    places = [line.at for line in lines]
    here = places.index(found.at)
    begin = max(0, min(here - _BEFORE, len(places) - most))
    return places[begin : begin + most]


def _of_scope(read: Sequence[str], begin: int, ranks: Ranks) -> tuple[_Line | None, list[int]]:
    lines = _ranked(read, range(begin, len(read)), ranks)
    found = _best(lines)
    return found, _window(lines, found) if found else []


def _of_build(read: Sequence[str], begin: int) -> tuple[_Line | None, list[int]]:
    places = _without_dockerfile(read, begin)
    step = _failed_step(read, places)
    if step is not None:
        return _of_step(read, places, step)
    if any(_CLASSIC_FAILED.match(read[at]) for at in places):
        steps = [at for at in places if _CLASSIC_STEP.match(read[at])]
        places = [at for at in places if not steps or at >= steps[-1]]
    lines = [
        line for line in _ranked(read, places, LINE_RANKS) if not _is_plain_step(read[line.at])
    ]
    found = _best(lines)
    return found, _window(lines, found) if found else []


def _is_plain_step(line: str) -> bool:
    """Output of a BuildKit step that did not fail."""
    step = _STEP.match(line)
    return step is not None and step[2] is None


def _without_dockerfile(read: Sequence[str], begin: int) -> list[int]:
    """The places without BuildKit's repetition of a step and its picture of the Dockerfile."""
    kept: list[int] = []
    repeats = pictures = False
    for at in range(begin, len(read)):
        line = read[at]
        if line == "------":
            repeats = not repeats
        elif _RULE.match(line) and not repeats:
            pictures = not pictures
        elif line.startswith((" !     ", "ERROR: ", "failed to ")):
            repeats = pictures = False
            kept.append(at)
        elif not (repeats or pictures) and not re.match(
            r"[\w./-]{0,80}Dockerfile\S{0,40}:\d+$", line
        ):
            kept.append(at)
    return kept


def _failed_step(read: Sequence[str], places: Sequence[int]) -> str | None:
    for at in reversed(places):
        step = _STEP.match(read[at])
        if step and step[2] is None and _STEP_FAILED.match(step[3]):
            return step[1]
    return None


def _of_step(
    read: Sequence[str], places: Sequence[int], number: str
) -> tuple[_Line | None, list[int]]:
    """BuildKit's failed step: its own output, its error, the builder's last line."""
    own: list[_Line] = []
    error: _Line | None = None
    ends = [at for at in places if _BUILDER_ENDS.match(read[at])]
    end = _Line(ends[-1], read[ends[-1]].strip(), AFTERMATH) if ends else None
    for at in places:
        step = _STEP.match(read[at])
        if step is None or step[1] != number:
            continue
        if step[2] is not None:
            own += _stepped(at, step[3])
        elif _STEP_FAILED.match(step[3]):
            error = _Line(at, step[3].strip(), _rank_of_step_error(step[3].strip()))
    own = own or _repeated(read, places)
    found = _best([*own, *([error] if error else [])])
    if found is None or found.rank < SPECIFIC:
        found = end or error
    rest = [line.at for line in (error, end) if line]
    if found in own and found is not None:
        return found, [*_window(own, found, MOST - len(rest)), *rest]
    return found, [*(line.at for line in own[-(MOST - len(rest)) :]), *rest]


def _stepped(at: int, text: str) -> list[_Line]:
    body = bare(text)
    return [_Line(at, body, rank(text, body, LINE_RANKS))] if body and not is_noise(body) else []


def _rank_of_step_error(body: str) -> int:
    """BuildKit's error of a step: often only that a process failed."""
    if _SILENT_FAILURE.match(body) and trouble_of(body) is None:
        return AFTERMATH
    return max(rank(body, body, LINE_RANKS), SPECIFIC)


def _repeated(read: Sequence[str], places: Sequence[int]) -> list[_Line]:
    """BuildKit's repetition of the failed step, where its own lines are too far away."""
    known = set(places)
    found: list[_Line] = []
    for at in range(places[0] if places else 0, len(read)):
        stamp = _STAMP.match(read[at]) if at not in known else None
        if stamp:
            found += _stepped(at, read[at][stamp.end() :])
    return found


def _of_release(read: Sequence[str], begin: int) -> tuple[_Line | None, list[int]]:
    outside, blocks = _blocks(read, begin)
    lines = _ranked(read, outside, RELEASE_RANKS)
    found = _best(lines)
    # Of complaints that no rank knows, the last one counts: Dokku warns and goes on, or stops.
    if found is None or found.rank <= SPECIFIC:
        found = _best(lines, last=True)
    task = any(_TASK_FAILED.match(read[at]) for at in outside)
    checks = [read[at] for at in outside if _CHECK_FAILED.match(read[at])]
    given_up = any(read[at].startswith("parallel: This job failed") for at in outside)
    block = _failed_block(read, outside, blocks, task=task) if task or checks or given_up else None
    if found is None or found.rank >= DECISIVE or block is None or not block.lines:
        return found, _window(lines, found) if found else []
    own = _best(block.lines, last=True)
    down = not checks or any(_NOT_RUNNING.search(line) for line in checks)
    end = [line.at for line in block.lines[-(MOST - 1) :]]
    if own and own.rank >= SPECIFIC and (task or down):
        if own.at not in end:
            end = _window(block.lines, own, MOST - 1)
        return own, [found.at, *end]
    return found, [found.at, *end]


def _blocks(read: Sequence[str], begin: int) -> tuple[list[int], list[_Block]]:
    """Dokku's own lines, and the output of containers and tasks between its Start and End lines."""
    outside: list[int] = []
    blocks: list[_Block] = []
    current: _Block | None = None
    for at in range(begin, len(read)):
        heading = _BLOCK.match(read[at])
        if heading:
            if heading[1] == "End" and not blocks:
                # Its Start line is too far away.
                blocks.append(_Block(heading[2], heading[3], 0, at))
                blocks[0].lines = _own_words(read, outside)
                outside = [one for one in outside if not read[one].startswith("       ")]
            current = None
            if heading[1] == "Start":
                current = _Block(heading[2], heading[3], at, at)
                blocks.append(current)
        elif current and read[at].startswith(("       ", " !     ")):
            current.end = at
            current.lines += _own_words(read, [at])
        elif current and read[at].startswith(("-----> ", "=====> ", "parallel: ")):
            current = None
            outside.append(at)
        elif current is None:
            outside.append(at)
    return outside, blocks


def _own_words(read: Sequence[str], places: Sequence[int]) -> list[_Line]:
    """What a container or task printed, with the ranks of its lines."""
    bodies = [
        (at, read[at][7:].strip()) for at in places if read[at].startswith((" !     ", "       "))
    ]
    return [_Line(at, body, _own_rank(body)) for at, body in bodies if body]


def _own_rank(body: str) -> int:
    return 0 if is_noise(body) else rank(body, body, LINE_RANKS)


def _failed_block(
    read: Sequence[str], outside: Sequence[int], blocks: Sequence[_Block], *, task: bool
) -> _Block | None:
    filled = [block for block in blocks if block.lines]
    if task:
        return next((block for block in reversed(filled) if " task" in block.title), None)
    failed = {match[1] for at in outside if (match := _FAILED_PROCESS.match(read[at]))}
    containers = [block for block in filled if "container" in block.title]
    of_failed = [block for block in containers if block.process in failed]
    return next(reversed(of_failed or ([] if failed else containers)), None)
