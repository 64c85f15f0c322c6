"""The steps of a build: they only go forward, however its stages are mixed."""

import functools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.excerpt import explain
from bot.deployments.log_lines import bare, is_noise, means_error, rank
from bot.deployments.model import LogMarker
from bot.dokku.log_markers import Line, LogReader

BUILDING = "-----> Building web from Dockerfile"
NAMES = ("", "build ", "stage-0  ", "deps ", "linux/amd64 ", "linux/arm64 build ", "a->b build ")


@st.composite
def interleaved_stages(draw: st.DrawFn) -> list[str]:
    """Vertices of several stages, each in its order, mixed and now and then repeated."""
    stages = draw(
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.integers(1, 12)),
            min_size=1,
            max_size=4,
            unique_by=lambda one: one[0],
        )
    )
    waiting = [[(name, now, of) for now in range(1, of + 1)] for name, of in stages]
    lines: list[str] = []
    while any(waiting):
        stage = draw(st.sampled_from([one for one in waiting if one]))
        name, now, of = stage.pop(0)
        vertex = f"#{len(lines) + 4} [{name}{now:>{len(str(of))}}/{of}] RUN something"
        lines += [vertex, f"#{len(lines) + 4} DONE 0.1s"]
        if draw(st.booleans()):
            lines.append(draw(st.sampled_from(lines)))
    return lines


def steps_of(lines: list[str]) -> list[str]:
    log = LogReader("web")
    shown: list[str] = []
    for text in (BUILDING, *lines):
        log.feed([Line(text=text, shown=text)])
        if log.facts.step and shown[-1:] != [log.facts.step]:
            shown.append(log.facts.step)
    return shown


@given(interleaved_stages())
def test_steps_never_go_back(lines: list[str]) -> None:
    shown = steps_of(lines)
    counts = [tuple(map(int, re.findall(r"\d+", step))) for step in shown]
    assert counts == sorted(counts)
    assert len(set(shown)) == len(shown)
    assert all(done <= whole for done, whole in counts)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("#4 [ 2/11] RUN apk add", "step 2 of 11"),
        ("#4 [build  9/12] RUN make", "step 9 of 12"),
        ("#4 [stage-0  4/10] RUN nix-env", "step 4 of 10"),
        ("#4 [linux/amd64 2/5] RUN make", "step 2 of 5"),
        ("#4 [linux/amd64 build 2/5] RUN make", "step 2 of 5"),
        ("#4 [linux/amd64->arm64 build 3/5] RUN go build", "step 3 of 5"),
        ("#4 [railpack] secrets hash", None),
    ],
)
def test_padded_and_named_stages_are_read(line: str, step: str | None) -> None:
    assert steps_of([line]) == ([step] if step else [])


def test_stages_count_together() -> None:
    lines = ["#4 [build 2/7] RUN a", "#5 [stage-1 1/4] FROM b", "#6 [build 3/7] RUN c"]
    assert steps_of(lines) == ["step 2 of 7", "step 3 of 11", "step 4 of 11"]


NASTY = (
    "w" * 4_000,
    " " * 4_000,
    "a." * 2_000,
    "a:" * 2_000,
    "ERROR" * 800,
    "ERROR: " * 600,
    "#1 " * 1_000,
    "#1 1.1 " + "x: " * 1_000,
    "[" * 4_000,
    "(" * 4_000,
    "=====> Start of " + "a " * 2_000,
    "=====> Start of " + "(" * 2_000,
    " !     " * 600,
    "npm error " * 400,
    "Because " * 500,
    "line 1: " * 500,
    "1" * 4_000,
    ".ts(" * 1_000,
    "The command '" * 300,
    "fatal: " + "submodule into" * 300,
    "-----> " * 500,
    'process "' * 400,
    "killed SIGKILL".join("x" * 90 for _ in range(30)),
)


@pytest.mark.parametrize("text", NASTY, ids=lambda text: text[:16].strip())
@pytest.mark.parametrize(
    "heading", ["-----> Cloning web from x", BUILDING, "-----> Releasing web..."]
)
def test_nasty_lines_cost_time_in_proportion(text: str, heading: str) -> None:
    # The worst here takes 60 times as long; one pattern that backtracks takes thousands.
    # Something else may have cost the time of one try.
    assert any(_cost(heading, text) < 250 * _ordinary_cost(heading, len(text)) for _ in range(3))


@functools.cache
def _ordinary_cost(heading: str, length: int) -> float:
    ordinary = "added 120 packages, and audited 121 packages, 1 error in total. " * 63
    return min(_cost(heading, ordinary[:length]) for _ in range(3))


def _cost(heading: str, text: str) -> float:
    """Processor seconds for 400 lines like this, none of them seen before."""
    lines = [heading, *(f"{text[:200]}{number}{text[200:]}" for number in range(400))]
    for cached in (bare, is_noise, rank):
        cached.cache_clear()
    began = time.thread_time()
    explain(lines)
    for line in lines[:100]:
        means_error(line)
    return time.thread_time() - began


def test_named_steps_never_go_back() -> None:
    log = LogReader("web")
    shown: list[str | None] = []
    for text in (
        "-----> Building web from railpack",
        "#6 install mise packages: node",
        "#8 npm ci",
        "#6 install mise packages: node",
        "#6 1.2 still installing",
        "#8 npm ci",
        "#9 npm run build",
    ):
        log.feed([Line(text=text, shown=text)])
        if shown[-1:] != [log.facts.step]:
            shown.append(log.facts.step)
    assert shown == [None, "install mise packages: node", "npm ci", "npm run build"]


def test_stray_end_of_a_build_does_not_decide() -> None:
    log = LogReader("web")
    lines = ("Step 2/4 : RUN sh tests.sh", " !     App build failed", "Step 3/4 : RUN make")
    for text in (BUILDING, *lines):
        log.feed([Line(text=text, shown=text)])
    assert LogMarker.BUILD_FAILED not in log.facts.markers


@pytest.mark.parametrize(
    ("last", "failed"),
    [
        (("ERROR: failed to solve: x",), False),
        (("ERROR: failed to solve: x", " !     Retagging old image b as dokku/web:latest"), True),
        (("ERROR: pip's dependency resolver does not", " !     A plugin warns"), False),
        (("The command '/bin/sh -c x' returned a non-zero code: 1", " !     Removing x"), True),
        (("ERROR: failed to solve: x", "goes on", " !     A plugin warns"), False),
        ((" !     App build failed",), True),
    ],
)
def test_a_build_failed_when_dokku_says_so(last: tuple[str, ...], failed: bool) -> None:
    log = LogReader("web")
    for text in (BUILDING, *last):
        log.feed([Line(text=text, shown=text)])
    assert (LogMarker.BUILD_FAILED in log.facts.markers) == failed


def test_reason_is_found_far_behind_the_heading_of_its_phase() -> None:
    log = LogReader("web")
    lines = ["-----> Building web from herokuish", "-----> Node.js app detected"]
    lines += [f"       line {number}" for number in range(3_000)]
    lines += ["       npm error Missing script: build", " !     App build failed"]
    for text in lines:
        log.feed([Line(text=text, shown=text)])
    assert log.facts.error == "npm error Missing script: build"
    assert explain(lines).reason == log.facts.error


@pytest.mark.parametrize("before", [(), (BUILDING,), (BUILDING, "-----> Releasing web...")])
def test_last_words_of_dokku_are_no_reason_beside_a_better_line(before: tuple[str, ...]) -> None:
    log = LogReader("web")
    for text in (
        "-----> Cloning web from x",
        *before,
        "docker: unknown flag: --nonsense",
        "parallel: This job failed:",
        " !     builds-record-finalize: no record for web/mx2hjgyeh48dz1, skipping",
    ):
        log.feed([Line(text=text, shown=text)])
    assert log.facts.error == "docker: unknown flag: --nonsense"
    assert LogMarker.REFUSED not in log.facts.markers


def test_fetch_that_goes_on_did_not_fail() -> None:
    log = LogReader("web")
    lines = ["-----> Cloning web from x", "fatal: clone of 'y' into submodule path 'z' failed"]
    for text in lines:
        log.feed([Line(text=text, shown=text)])
    assert LogMarker.REPO_UNREACHABLE in log.facts.markers
    text = "Submodule path 'z': checked out 'abc'"
    log.feed([Line(text=text, shown=text)])
    assert LogMarker.REPO_UNREACHABLE not in log.facts.markers


def test_failure_of_a_phase_that_is_over_is_none() -> None:
    log = LogReader("web")
    for text in (
        "-----> Cloning web from x",
        "fatal: a hook of the repository warns",
        BUILDING,
        " !     App build failed",
        "-----> Releasing web...",
    ):
        log.feed([Line(text=text, shown=text)])
    assert not {one for one in log.facts.markers if one.endswith(("_failed", "_unreachable"))}
    assert log.facts.error is None
