"""docs/verdicts.md: what each result means, and what the rules say of each kind of evidence."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bot.deployments.model import Phase
from bot.deployments.verdict.decisions import (
    Cause,
    Ended,
    LiveDetail,
    LookAgain,
    ReadAgain,
    Requeue,
    StartAgain,
    WatchRelease,
)
from bot.deployments.verdict.stability import NextLook
from bot.deployments.verdict.wording import (
    LATE,
    LIVE_SENTENCES,
    as_sentence,
    cause_of,
    live_sentence,
)
from bot.dokku.commands import MEANS, SINCE, capabilities
from tests.verdicts.answers import Answer, ask, ended
from tests.verdicts.printed import PRINTED, Printed
from tests.verdicts.rows import ROWS, SECTIONS, Row, Section

_INTRODUCTION = Path(__file__).with_name("verdicts_intro.md").read_text(encoding="utf-8")
_MESSAGES = """\
## What the message says

The first sentence names the cause, the second what serves. `…` is what Dokku printed.

| cause | first sentence |
|---|---|
{causes}

| live | second sentence |
|---|---|
{lives}

A result before Dokku 0.38 that is inferred from the released deploy lock says so. A failure after
new containers had started begins with *{late}*
"""
_PRINTED = """\
## What Dokku prints at an end

Every text that a real Dokku printed, or is known to print. *Not met* says why no deployment of the
bot ends with it.

| exit status | text | result, with its row |
|---|---|---|
{rows}
"""
_VERSIONS = """\
## Versions of Dokku

The bot asks for the version once per server and after each login. `deploybot check` shows it.

{rows}

How far the bot can be trusted with a version:

{standings}
"""
_REPORT = """\
## Test report

What shows each row. *Recording*: a real Dokku, recorded under `bot/simulators/dokku/transcripts/`
and played through the whole bot (`tests/scenarios/test_replayed_*.py`). *Model*: the simulated
Dokku plays it through the whole bot (`tests/scenarios/test_model_rows.py`); a recording that shows
the same is named. *Rules alone*: neither can, and why. *Rule* is the name that the audit shows.

| row | rule | shown by |
|---|---|---|
{rows}
"""
_SHOWN = (
    ("0.38", "0.38.0"),
    ("0.36, 0.37", "0.36.0"),
    ("0.35", "0.35.0"),
    ("0.30 to 0.34", "0.30.0"),
    ("older", "0.29.0"),
    ("newer", "99.0.0"),
    ("none named", ""),
)
_LIVE_DETAILS: Mapping[LiveDetail, str] = {
    LiveDetail.RESTARTING: "`previous`, itself restarting",
    LiveDetail.RESTARTED: "`previous`, restarted by someone",
    LiveDetail.OTHER_CODE: "`unknown`, after an outside change",
    LiveDetail.DEPLOYED: "`new`, not known to serve",
    LiveDetail.RETURNED: "`previous`, back in place",
}


def verdicts_page() -> str:
    """The whole page."""
    parts = (_section(one) for one in SECTIONS)
    return "\n".join((_INTRODUCTION, *parts, _messages(), _printed(), _versions(), _report()))


def _section(section: Section) -> str:
    head = "| row | what was read | result | live | cause |"
    lines = [f"## {section.title}", "", section.text, "", head, "|---|---|---|---|---|"]
    lines += [_line(row) for row in section.rows]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    answer = ask(row.question)
    result = ended(answer)
    live, cause = (f"`{result.live}`", f"`{result.cause}`") if result else ("", "")
    return f"| {row.number} | {row.read} | {_result(answer)} | {live} | {cause} |"


def _result(answer: Answer) -> str:
    match answer:
        case Ended(phase=Phase.FAILED, failure=failure):
            return f"**failed** · `{failure}`"
        case Ended(phase=phase):
            return f"**{phase}**"
        case StartAgain(otherwise=result):
            return f"*starts once more*, if allowed; else {_result(result)}"
        case WatchRelease():
            return "*none yet:* watches the release"
        case ReadAgain() | LookAgain() | NextLook.WAIT:
            return "*none yet:* looks again"
        case NextLook.BEGIN_AGAIN:
            return "*none yet:* the settle time starts again"
        case Requeue():
            return "*none yet:* keeps its position"


def _messages() -> str:
    results = [result for row in ROWS if (result := ended(ask(row.question)))]
    first = {one.cause: one for one in reversed(results)}
    causes = [f"| `{one}` | {_first_sentence(first[one])} |" for one in Cause if one in first]
    lives = [f"| `{live}` | {sentence} |" for live, sentence in LIVE_SENTENCES.items()]
    some = next(iter(first.values()))
    for detail, words in _LIVE_DETAILS.items():
        lives.append(f"| {words} | {live_sentence(_plain(some, live_detail=detail))} |")
    return _MESSAGES.format(causes="\n".join(causes), lives="\n".join(lives), late=LATE)


def _first_sentence(result: Ended) -> str:
    if result.cause is Cause.NOT_STARTED:
        return "The reason, in words."
    return as_sentence(cause_of(_plain(result)))


def _plain(result: Ended, *, live_detail: LiveDetail = LiveDetail.NONE) -> Ended:
    """Without what differs from row to row."""
    detail = "…" if result.detail else ""
    plain = replace(result, detail=detail, late=False, by_lock=False, by="", live_by="")
    return replace(plain, live_detail=live_detail)


def _printed() -> str:
    return _PRINTED.format(rows="\n".join(_printed_line(one) for one in PRINTED))


def _printed_line(text: Printed) -> str:
    results: dict[str, list[str]] = {}
    for row in text.rows:
        results.setdefault(_result(ask(row.question)), []).append(str(row.number))
    met = [f"{result} ({', '.join(numbers)})" for result, numbers in results.items()]
    unmet = [f"*not met:* {text.not_met}"] if text.not_met else []
    return f"| {text.exits} | {_code(text.says)} | {'; '.join(met + unmet)} |"


def _code(text: str) -> str:
    if text.startswith("("):
        return text
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _versions() -> str:
    since = sorted(SINCE.items(), key=lambda item: item[1], reverse=True)
    rows = [f"- since {'.'.join(map(str, version))}: {MEANS[name]}" for name, version in since]
    standings = [f"- **{shown}**: {capabilities(answer).support()}" for shown, answer in _SHOWN]
    return _VERSIONS.format(rows="\n".join(rows), standings="\n".join(standings))


def _report() -> str:
    rows = [f"| {row.number} | {_rule(row)} | {_proof(row)} |" for row in ROWS]
    return _REPORT.format(rows="\n".join(rows))


def _rule(row: Row) -> str:
    rule = row.gives.split()[-1]
    return "" if rule == "-" else f"`{rule}`"


def _proof(row: Row) -> str:
    if row.alone:
        return f"rules alone: {row.alone}"
    named = f"`{row.recording}`" if row.recording else ""
    if row.model:
        return f"model, as in {named}" if named else "model"
    return f"recording {named}"
