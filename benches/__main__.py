"""`python -m benches [NAME [OPTION=NUMBER ...] ...]`: run benches and print one JSON object.

Without names: all but the long ones. The exit status is 1 if a bench names problems.
"""

import asyncio
import contextlib
import importlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

NAMES = (
    "cli_help",
    "poll",
    "idle",
    "acks",
    "results",
    "many",
    "thousand",
    "ready",
    "redaction",
    "flood",
    "nasty",
    "story",
)
LONG = ("storm", "soak", "takeover")
"""They take minutes, and run only by name."""


async def run(asked: Mapping[str, Mapping[str, float]]) -> dict[str, object]:
    figures: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for name, options in asked.items():
        print(f"{name} ...", file=sys.stderr)
        figures[name] = await importlib.import_module(f"benches.{name}").measure(**options)
    return figures


def read(words: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read names, each with its options: `storm replicas=3`."""
    asked: dict[str, dict[str, float]] = {}
    name = ""
    for word in words:
        option, equals, number = word.partition("=")
        if not equals:
            name = word
            asked[name] = {}
        elif name:
            asked[name][option] = float(number) if "." in number else int(number)
    return asked or {one: {} for one in NAMES}


def main() -> int:
    asked = read(sys.argv[1:])
    unknown = sorted(asked.keys() - {*NAMES, *LONG})
    if unknown:
        known = ", ".join((*NAMES, *LONG))
        print(f"no such bench: {', '.join(unknown)}. Benches: {known}", file=sys.stderr)
        return 2
    with contextlib.redirect_stdout(sys.stderr):  # a bot in this process logs to stdout
        figures = asyncio.run(run(asked))
    print(json.dumps(figures, indent=2))
    return int(any(isinstance(one, dict) and one.get("problems") for one in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
