"""The line that says why, of tools and languages beyond the logs, also coloured."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders.played import play

_FILE = Path(__file__).with_name("reasons.toml")
REASONS: list[dict[str, Any]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))["reasons"]
FETCH = ["-----> Cloning web from https://git.example/acme/web.git#main"]
BUILD = [*FETCH, "-----> Cleaning up...", "-----> Building web from Dockerfile"]
BUILDPACK = [*FETCH, "-----> Cleaning up...", "-----> Building web from herokuish"]
ENDS = [" !     Removing invalid image tag dokku/web:latest", " !     App build failed"]
SILENT = 'process "/bin/sh -c x" did not complete successfully: exit code: 1'
CONTAINER = "web container output (0259c23be0fc web.1)"


def whole(kind: str, prints: Sequence[str]) -> list[str]:
    match kind:
        case "fetch":
            return [*FETCH, *prints]
        case "buildpack":
            return [*BUILDPACK, *prints, " !     Failure starting container", *ENDS]
        case "step":
            return [
                *BUILD,
                "#6 [build 2/9] RUN npm test",
                "#7 [build 3/9] RUN x",
                *(f"#7 1.234 {line}" for line in prints),
                "#6 0.1 Error: only a test that prints the word error",
                f"#7 ERROR: {SILENT}",
                "------",
                " > [build 3/9] RUN x:",
                *(f"1.234 {line}" for line in prints),
                "------",
                "Dockerfile:7",
                "--------------------",
                "   7 | >>> RUN x",
                "--------------------",
                f"ERROR: failed to solve: {SILENT}",
                *ENDS,
            ]
        case _:
            return [
                *BUILD,
                "-----> Releasing web...",
                "-----> Deploying web via the docker-local scheduler...",
                "-----> Deploying web (count=1)",
                " !     Failure in name='default': container state 'restarting' is not running",
                " !     Could not start due to 1 failed checks (web.1)",
                f"=====> Start of {CONTAINER}",
                *(f"       {line}" for line in prints),
                f"=====> End of {CONTAINER}",
                "parallel: This job failed:",
            ]


@pytest.mark.parametrize("coloured", [False, True], ids=["plain", "coloured"])
@pytest.mark.parametrize("row", REASONS, ids=lambda row: row["prints"][0][:40])
def test_reason_is_the_most_telling_line(row: dict[str, Any], coloured: bool) -> None:
    prints = [f"\x1b[31m{line}\x1b[0m" if coloured and line else line for line in row["prints"]]
    played = play("".join(f"{line}\n" for line in whole(row["kind"], prints)).encode())
    assert played.facts.error == row["reason"]
    assert (played.facts.trouble or "") == row.get("trouble", "")
    assert row["reason"] in played.excerpt


def test_reason_is_found_behind_thousands_of_lines_of_a_crash_loop() -> None:
    prints = ["start", "panic: no database", "exit status 2"] * 2_000
    played = play("".join(f"{line}\n" for line in whole("container", prints)).encode())
    assert played.facts.error == "panic: no database"
    assert "panic: no database" in played.excerpt


def test_very_long_line_is_cut_in_the_reason() -> None:
    line = "Error: Cannot find module 'x' " + "y" * 20_000
    played = play("".join(f"{text}\n" for text in whole("container", [line])).encode())
    assert (played.facts.error or "").startswith("Error: Cannot find module 'x' yyy")
    assert len(played.facts.error or "") <= 500
