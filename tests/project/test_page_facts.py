"""What the pages say about the code: paths, names and quoted sentences exist; tables stay short."""

import ast
import functools
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.config.settings import SettingsTable
from bot.config.values import show_duration
from bot.deployments.timing import Timing
from bot.names import COMMAND
from bot.outbox import LaneTiming
from bot.slack.limits import EditLimits

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ARCHITECTURE = DOCS / "architecture.md"
TROUBLESHOOTING = DOCS / "troubleshooting.md"
GUIDES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(DOCS / name for name in ("architecture.md", "glossary.md", "install.md", "hosting.md")),
    *(DOCS / name for name in ("first-week.md", "upgrade.md", "backup.md", "limits.md")),
    DOCS / "security.md",
    TROUBLESHOOTING,
]
PATH = re.compile(r"`((?:bot|tests|tools|benches|docs|\.ci|\.github)/[\w./*-]*)`")
NAME = re.compile(r"`([\w./-]+\.py)` \(`(\w+)`((?:, `\w+`)*)\)")
LONGEST_CELL = 20
MINUTE = timedelta(minutes=1)
NUMBERS = {5: "five", 10: "ten"}
CHANGES = (
    *("button", "chat command", "builder's line", "webhook field", "failure word"),
    *("poll interval", "metric", "database column", "server property", "sentence"),
    *("permission", "simulator's answer", "setting", "verdict", "Dokku version"),
)

guide = pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)


@guide
def test_paths_on_pages_exist(page: Path) -> None:
    for path in PATH.findall(page.read_text()):
        assert list(ROOT.glob(path.rstrip("/"))), path


def test_files_on_the_architecture_page_exist() -> None:
    for name in re.findall(r"`([\w./-]+\.py)`", ARCHITECTURE.read_text()):
        assert (ROOT / name).is_file() or (ROOT / "bot" / name).is_file(), name


@guide
def test_names_beside_a_file_are_in_it(page: Path) -> None:
    for path, first, others in NAME.findall(page.read_text()):
        text = (ROOT / path).read_text()
        for name in (first, *re.findall(r"\w+", others)):
            assert re.search(rf"\b{name}\b", text), f"{path}: {name}"


@guide
def test_table_cells_are_short(page: Path) -> None:
    for line in page.read_text().splitlines():
        if line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line.strip("|")):
                assert len(cell.split()) <= LONGEST_CELL, cell


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *DOCS.glob("*.md")], ids=lambda page: page.name
)
def test_links_to_headings_resolve(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        there = (page.parent / target) if target else page
        headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
        assert heading in {_anchor(text) for text in headings}, f"{target}#{heading}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_map_names_every_package_and_top_level_module() -> None:
    page = ARCHITECTURE.read_text()
    packages = {path.parent for path in (ROOT / "bot").glob("**/__init__.py")}
    shown = [
        *(ROOT / "bot").glob("*.py"),
        *(path for path in packages if len(path.relative_to(ROOT).parts) in {2, 3}),
    ]
    for path in shown:
        if path.name not in {"__init__.py", "__main__.py"}:
            assert f"`{path.relative_to(ROOT)}`" in page, path


def test_every_common_change_has_a_row() -> None:
    section = ARCHITECTURE.read_text().partition("## Where do I change")[2]
    rows = [line for line in section.splitlines() if line.startswith("| ")]

    for change in CHANGES:
        assert any(row.split("|")[1].strip().endswith(change) for row in rows), change


def test_failure_words_section_names_every_module_that_uses_one() -> None:
    section = ARCHITECTURE.read_text().partition("### Failure words\n")[2].partition("\n### ")[0]
    used = [
        path.relative_to(ROOT)
        for path in (ROOT / "bot").glob("**/*.py")
        if "simulators" not in path.parts and re.search(r"\bFailure\.[A-Z]", path.read_text())
    ]

    assert used
    for path in used:
        assert f"`{path}`" in section, path


def test_troubleshooting_quotes_sentences_of_the_code() -> None:
    headings = re.findall(r"^### (?!`)(.*)$", TROUBLESHOOTING.read_text(), re.MULTILINE)
    known = _sentences()

    assert headings
    for heading in headings:
        parts = (re.escape(part.strip()) for part in heading.split("…"))
        quoted = re.compile(".*".join(parts), re.DOTALL)
        assert any(quoted.search(sentence) for sentence in known), heading


def test_no_text_of_the_bot_hard_codes_the_name_of_its_command() -> None:
    named = [sentence for sentence in _sentences() if re.search(r"(?<![\w.])/deploy\b", sentence)]

    assert named == [COMMAND]


def test_security_page_names_exactly_the_commands_that_dokku_is_sent() -> None:
    tree = ast.parse((ROOT / "bot" / "dokku" / "commands.py").read_text())
    sent = {
        node.value.elts[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)
        if isinstance(node.value.elts[0], ast.Constant)
    } - {"--format"}
    said = (DOCS / "security.md").read_text().partition("The bot sends only\n")[2]

    assert set(re.findall(r"`([a-z:]+)`", said.partition(". ")[0])) == sent


@functools.cache
def _sentences() -> tuple[str, ...]:
    """Every text of the bot, with `…` where a value is filled in, without formatting."""
    found: list[str] = []
    for path in sorted((ROOT / "bot").glob("**/*.py")):
        if "simulators" not in path.parts:
            found += _texts(ast.parse(path.read_text()))
    return tuple(re.sub(r"[`*]", "", re.sub(r"\{\w*\}", "…", text)) for text in found)


def _texts(tree: ast.AST) -> Iterator[str]:
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as text) if id(node) not in docstrings:
                yield text
            case ast.JoinedStr(values=parts):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    else "…"
                    for part in parts
                )  # fmt: skip
            case _:
                pass


def test_numbers_of_the_limits_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", (DOCS / "limits.md").read_text(), re.MULTILINE)
    page, timing, tries = dict(rows), Timing(), LaneTiming().retry_after
    pauses = [show_duration(pause).replace("m", " min") for pause in tries]
    pauses = [re.sub(r"(?<=\d)([sh])", r" \1", pause) for pause in pauses]
    longest = SettingsTable.model_fields["max_duration"].default
    assert page["one deployment"] == f"{longest // MINUTE} minutes"
    assert timing.approval_ttl == timing.queue_ttl
    hours = timing.queue_ttl // timedelta(hours=1)
    assert page["waiting for an approval, in the queue"] == f"{hours} hours each"
    waiting = (
        f"{timing.most_waiting_of_app} of one app, {timing.most_waiting_of_person} of one person"
    )
    assert page["waiting deployments"] == waiting
    assert page["edits in Slack"].startswith(f"{EditLimits().per_minute} a minute for a workspace")
    assert page["tries of a webhook"] == (
        f"{len(tries) + 1}: at once, then after {', '.join(pauses[:-1])} and {pauses[-1]}"
    )
    watched = f"It watches a release for {NUMBERS[timing.crash_looks // MINUTE]} minutes after"
    assert watched in (DOCS / "limits.md").read_text()
