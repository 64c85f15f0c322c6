"""`python -m benches [NAME ...]`: run all benches, or some, and print one JSON object."""

import asyncio
import contextlib
import importlib
import json
import platform
import sys
from datetime import UTC, datetime

NAMES = (
    "cli_help",
    "poll",
    "idle",
    "acks",
    "results",
    "many",
    "thousand",
    "redaction",
    "flood",
    "nasty",
    "story",
)


async def run(names: list[str]) -> dict[str, object]:
    figures: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for name in names:
        print(f"{name} ...", file=sys.stderr)
        figures[name] = await importlib.import_module(f"benches.{name}").measure()
    return figures


def main() -> int:
    names = sys.argv[1:] or list(NAMES)
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"no such bench: {', '.join(unknown)}. Benches: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    with contextlib.redirect_stdout(sys.stderr):  # a bot in this process logs to stdout
        figures = asyncio.run(run(names))
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
