"""docs/builders.md: which builders' output was tried, and what a person sees of it."""

from bot.deployments.verdict.decisions import Ended
from bot.deployments.verdict.wording import as_sentence, cause_of
from tests.builders.played import Log, Played, logs, play

_INTRODUCTION = """\
# Builders

<!-- Made from tests/builders by `make docs`; edit there. -->

What was tried with each builder, and what a message shows of it: the reason when it failed, the
steps while it ran. Each row is one deploy's output in `tests/builders/logs`, played through the
bot's reader and rules. Most were put together from public reports and the tools' sources; those
numbered 50 and above were recorded on a real Dokku.

The reason is one line of the output, or a sentence that also says what to do. The excerpt beside it
holds up to 10 lines: the failed step's own output, or the end of what the failed container or task
printed.
"""
_MOST_STEPS = 4
_CHARS = 180


def builders_page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for builder in dict.fromkeys(log.builder for log in logs()):
        lines = [
            f"## {builder[0].upper()}{builder[1:]}",
            "",
            "| log | what happened | what a message says | steps |",
            "|---|---|---|---|",
        ]
        lines += [_line(log) for log in logs() if log.builder == builder]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(log: Log) -> str:
    played = play(log.data, log.app)
    return f"| {log.file[:2]} | {log.tried} | {_says(log, played)} | {_steps(played)} |"


def _says(log: Log, played: Played) -> str:
    if log.gives in {"good", "open"}:
        return "the steps"
    ended = played.decided(log.exits)
    if not isinstance(ended, Ended):
        raise TypeError(f"{log.file} has no result")
    said = as_sentence(cause_of(ended))
    said = said if len(said) <= _CHARS else f"{said[:_CHARS]}…"
    return f"`{ended.failure}`: {said.replace('|', '&#124;').replace('`', '')}"


def _steps(played: Played) -> str:
    some = played.steps[:_MOST_STEPS]
    return ", ".join(some) + (", …" if len(played.steps) > len(some) else "")
