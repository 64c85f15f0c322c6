"""What GitHub and pre-commit run: make's commands, with time limits and a read-only token."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
PINNED = re.compile(r"uses: [\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")

workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def _load(path: Path) -> dict[Any, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def _jobs(path: Path) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = _load(path)["jobs"]
    return jobs


def test_there_are_workflows_and_forms() -> None:
    assert {path.name for path in WORKFLOWS} == {"release.yml", "test.yml", "weekly.yml"}
    assert {path.name for path in FORMS} == {"bug.yml", "feature.yml"}


@workflow
def test_commands_are_make_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for job in _jobs(path).values():
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert commands
        for command in commands:
            called = re.fullmatch(r"make ([a-z]+)(?: ARGS=\"[^\"]*\")?", command)
            assert called, command
            assert called[1] in targets, command


@workflow
def test_every_job_has_a_time_limit(path: Path) -> None:
    for name, job in _jobs(path).items():
        assert 0 < job["timeout-minutes"] <= 120, name


@workflow
def test_actions_are_pinned_to_a_commit_and_name_its_version(path: Path) -> None:
    used = [line.strip().removeprefix("- ") for line in path.read_text().splitlines()]
    used = [line for line in used if line.startswith("uses:")]

    assert used
    for line in used:
        assert PINNED.fullmatch(line), line


@workflow
def test_the_token_can_only_read(path: Path) -> None:
    assert _load(path)["permissions"] == {"contents": "read"}
    for job in _jobs(path).values():
        publishes = [step for step in job["steps"] if step.get("run") == "make publish"]
        assert job.get("permissions", {}) == ({"contents": "write"} if publishes else {})
        for step in job["steps"]:
            # Nothing that was fetched to build with gets the token that may write.
            assert ("github.token" in str(step)) == (step in publishes)
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@workflow
def test_no_outside_value_reaches_a_shell(path: Path) -> None:
    for job in _jobs(path).values():
        for step in job["steps"]:
            for value in re.findall(r"\$\{\{(.*?)\}\}", step.get("run", "")):
                assert value.strip().startswith("matrix."), step["run"]


@workflow
def test_workflows_limit_concurrency(path: Path) -> None:
    assert _load(path)["concurrency"]["group"]


def publish(folder: Path, tag: str, *, sbom: bool) -> subprocess.CompletedProcess[str]:
    """Run the script of `make publish` in a copy, with a `gh` that prints its arguments."""
    for name in (".ci", "dist"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "publish", folder / ".ci")
    (folder / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    for name in ("-1.2.3-py3-none-any.whl", "-1.2.3.tar.gz"):
        (folder / "dist" / f"dokku_deploybot{name}").touch()
    if sbom:
        (folder / "dist" / "sbom.json").touch()
    (folder / "gh").write_text('#!/bin/sh\necho "$@"\n')
    (folder / "gh").chmod(0o755)
    environ = {"PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_REF_NAME": tag}
    script = [str(folder / ".ci" / "publish")]
    return subprocess.run(script, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("tag", "sbom"), [("v1.2.4", True), ("1.2.3", True), ("v1.2.3", False)])
def test_nothing_is_published_unless_tag_and_files_are_right(
    tmp_path: Path, tag: str, sbom: bool
) -> None:
    ended = publish(tmp_path, tag, sbom=sbom)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "othing was published" in ended.stderr


def test_wheel_sdist_and_bill_of_materials_are_published(tmp_path: Path) -> None:
    ended = publish(tmp_path, "v1.2.3", sbom=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("release create v1.2.3 --verify-tag")
    for name in (".whl", ".tar.gz", "sbom.json"):
        assert name in ended.stdout


def test_every_supported_python_is_tested() -> None:
    matrix = _jobs(ROOT / ".github" / "workflows" / "test.yml")["test"]["strategy"]["matrix"]
    stated = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())

    assert matrix["python"] == stated


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_issue_form_questions_have_labels_and_unique_ids(form: Path) -> None:
    questions = [part for part in _load(form)["body"] if part["type"] != "markdown"]

    assert all(part["attributes"]["label"] for part in questions)
    assert len({part["id"] for part in questions}) == len(questions)


def test_dependabot_covers_python_and_actions() -> None:
    updates = _load(ROOT / ".github" / "dependabot.yml")["updates"]

    assert {one["package-ecosystem"] for one in updates} == {"uv", "github-actions"}


def test_commit_hooks_run_the_tools_of_make_check() -> None:
    hooks = _load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    recipes = re.findall(r"^(?:lint|types):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)

    tool = r"(ruff [a-z]+|[a-z-]+)"
    checked = re.findall(rf"\$\(RUN\) {tool}", "".join(recipes))
    hooked = [re.match(rf"\.ci/uv run --no-sync {tool}", hook["entry"]) for hook in hooks]

    assert [found and found[1] for found in hooked] == checked
    assert all(hook["language"] == "system" for hook in hooks)
