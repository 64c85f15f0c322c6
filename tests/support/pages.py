"""The commands on the pages: blocks of shell lines, each marked with where it runs.

| mark | runs | held by |
|---|---|---|
| `run` | in an empty folder, with the program installed | a test runs it |
| `checkout` | in a checkout | a test looks for its targets and files; CI runs the targets |
| `server` | on a Dokku server, as root | needs a real server |
| `workstation` | on one's own machine, against a real Slack or server | needs a real server |
| `host` | on the bot's own machine: Docker, systemd, PostgreSQL | needs a real server |
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
MARKS = {"run", "checkout", "server", "workstation", "host"}
_BLOCK = re.compile(r"^( *)```(sh\b[^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of shell lines."""

    page: Path
    mark: str
    text: str

    def commands(self) -> Iterator[str]:
        """Its command lines: continued ones joined, comments and here-documents left out."""
        text = re.sub(r"<<'(\w+)'\n.*?^\1$", "", self.text, flags=re.DOTALL | re.MULTILINE)
        for line in text.replace("\\\n", " ").splitlines():
            command = re.sub(r"(^|\s)#.*", "", line).strip()
            if command:
                yield command


def blocks(page: Path) -> list[Block]:
    """The page's shell blocks, in order."""
    return [
        Block(page=page, mark=info.partition(" ")[2].strip(), text=textwrap.dedent(indent + text))
        for indent, info, text in _BLOCK.findall(page.read_text())
    ]


def all_blocks(*marks: str) -> list[Block]:
    """Those of all pages with one of the marks; without marks, all."""
    found = [block for page in PAGES for block in blocks(page)]
    return [block for block in found if not marks or block.mark in marks]
