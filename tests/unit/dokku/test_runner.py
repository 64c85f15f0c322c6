"""What is read of a deploy in a one-off container, and how its output goes on after a break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.dokku import commands, reports
from bot.dokku.followed import overlap
from bot.errors import Declined, OddReport
from bot.redaction import Redactor
from bot.simulators.dokku.recordings import NEWEST, load

RECORDED = load(NEWEST, "m9_detached_runner_app")
NAME = "runner.run.3676"
SHA = "b5d9cb9694436598f983cd87ef0260d68cc9fc2f"
mask = Redactor(()).text


def test_recorded_start_is_read() -> None:
    step = RECORDED["detached"]
    assert reports.read_run(step.stdout, "runner") == NAME
    sync = commands.git_sync("api", "git://git.example/api.git", "main")
    ours = commands.run_detached("runner", sync)
    assert [*ours[:2], *ours[3:]] == [*step.argv[:2], *step.argv[3:]]


@pytest.mark.parametrize("text", ["", "\n", "other.run.1\n", "runner.run.x\n", "runner.web.1\n"])
def test_name_that_is_not_shown_is_not_known(text: str) -> None:
    assert reports.read_run(text, "runner") == ""


def test_recorded_lists_are_read() -> None:
    command = "/app/labssh git:sync --build api git://git.example/api.git main"
    assert reports.read_runs(RECORDED["list"].stdout, mask) == {NAME: command}
    assert reports.read_runs(RECORDED["list_none"].stdout, mask) == {}
    for odd in ("", "hello\n", RECORDED["list_json"].stdout):
        with pytest.raises(OddReport):
            reports.read_runs(odd, mask)


def test_runner_must_be_an_app_name() -> None:
    for name in ("", "Runner", "a b", "-x"):
        with pytest.raises(Declined):
            commands.run_list(name)
        with pytest.raises(Declined):
            commands.run_detached(name, ("version",))


@pytest.mark.parametrize(
    ("scenario", "name", "head"),
    [
        ("a_first_deploy_ok", "deploy", "git://git.example/web.git#main"),
        ("b_redeploy_ok", "deploy", "git://git.example/web.git#main"),
    ],
)
def test_recorded_output_begins_with_its_source(scenario: str, name: str, head: str) -> None:
    text = "".join(text for _, _, text in load(NEWEST, scenario)[name].chunks)
    lines = text.splitlines()
    assert reports.read_build_head(lines[0]) == head
    assert {reports.read_build_head(line) for line in lines[1:]} == {None}


def test_source_is_read_without_its_password() -> None:
    line = f"-----> Cloning web from https://bot:s3cret@git.example/a/web.git#{SHA}"
    assert reports.read_build_head(line) == f"https://git.example/a/web.git#{SHA}"
    masked = line.replace("s3cret", "[redacted]")
    assert reports.read_build_head(masked) == f"https://git.example/a/web.git#{SHA}"


@given(
    seen=st.lists(st.sampled_from("abc"), max_size=30),
    new=st.lists(st.sampled_from("abc"), max_size=10),
    shown=st.integers(min_value=1, max_value=40),
)
def test_output_goes_on_where_it_was_read_last(seen: list[str], new: list[str], shown: int) -> None:
    now = [*seen, *new][-shown:]
    count = overlap(seen, now)
    assert now[:count] == seen[len(seen) - count :]
    # Never a line twice, as long as none is missing.
    assert count >= max(0, len(now) - len(new))


def test_nothing_is_repeated_where_lines_are_missing() -> None:
    assert overlap(["a", "b"], ["c", "d"]) == 0
    assert overlap([], ["a"]) == 0
