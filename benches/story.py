"""What one good `/deploy` enters of the bot, from the click to the delivered webhook.

Counts with `sys.setprofile`: files, functions and classes of `bot/`, the simulators left out.
"""

import asyncio
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import bot
from bot.bootstrap import open_bot
from bot.config.loading import load_settings
from bot.logs import configure_logging
from bot.metrics import Metrics
from bot.readiness import Readiness
from bot.redaction import Redactor
from bot.simulators.environment import Simulators, open_simulators
from bot.slack.manifest import manifest

ROOT = Path(bot.__file__).parent
WITHIN_S = 60.0


class Entered:
    """Every code object of the bot that was called."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.calls[frame.f_code] += 1

    def figures(self) -> dict[str, object]:
        """Files by package, functions, calls."""
        ours = {code: n for code, n in self.calls.items() if _is_ours(code)}
        files = {Path(code.co_filename).relative_to(ROOT) for code in ours}
        packages = Counter(file.parts[0] if len(file.parts) > 1 else "top level" for file in files)
        return {
            "files": len(files),
            "functions": len({(code.co_filename, code.co_qualname) for code in ours}),
            "calls": sum(ours.values()),
            "files_by_package": dict(packages.most_common()),
            "names": sorted(map(str, files)),
        }


def _is_ours(code: CodeType) -> bool:
    path = Path(code.co_filename)
    return path.is_relative_to(ROOT) and "simulators" not in path.parts


async def measure() -> dict[str, object]:
    configure_logging(json=False, level="WARNING", mask=str)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        async with open_simulators(manifest=manifest(), folder=folder) as stage:
            settings = load_settings(environ=dict(stage.settings), folder=folder)
            async with open_bot(
                settings,
                metrics=Metrics(),
                redactor=Redactor(settings.secrets()),
                readiness=Readiness(),
            ):
                return await _count(stage)


async def _count(stage: Simulators) -> dict[str, object]:
    entered, delivered = Entered(), asyncio.Event()
    stage.receiver.on_received.append(lambda: delivered.set() if _is_finished(stage) else None)
    threading.setprofile(entered)
    sys.setprofile(entered)
    try:
        slack = stage.slack
        await slack.command(slack.user("ada"), slack.channel("deploys"), "/deploy", "myapp main")
        await asyncio.wait_for(delivered.wait(), WITHIN_S)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return entered.figures()


def _is_finished(stage: Simulators) -> bool:
    return any(one.body.get("type") == "deployment.finished" for one in stage.receiver.received)
