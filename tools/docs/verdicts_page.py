"""docs/verdicts.md: what the rules say of each kind of evidence, made by asking them."""

from collections.abc import Mapping

from bot.deployments.model import Live, Phase
from bot.dokku.versions import MEANS, SINCE, capabilities
from tests.verdicts.causes import CAUSES, Cause, rows_of
from tests.verdicts.flat import Kind, Verdict
from tests.verdicts.rows import Row, Section
from tests.verdicts.table import SECTIONS

_INTRODUCTION = """\
# Verdicts

<!-- Made from bot/operations/verdict_table/ by `make docs`; edit there. -->

How a deployment ended is not taken from one line or one exit status. The bot reads everything that
Dokku can tell: the exit status of its own command, Dokku's build record, the lines of the output,
the containers before and after, and the source that Dokku recorded. This page shows what it makes
of them.

- **Ours** is a container that our own output names, or one with the image of such a container.
  **Old** is one that stood there before the start, or has the image of one that did. Containers
  that are neither are somebody else's.
- **Live** is what serves now: `new`, `previous`, `mixed`, `none`, or `unknown`.
- **Proof** says what shows the row. *Recording*: that of a real Dokku, under
  `bot/simulators/dokku/transcripts/`, played again through the whole bot
  (`tests/scenarios/test_replayed_*.py`). *Model*: the simulated Dokku's model plays it through
  the whole bot (`tests/scenarios/test_model_rows.py`); where a recording shows the same, it is
  named too. *Rules alone*: neither can, and why.
- The rule is the name that the audit shows with an end (`rule ...`). The rules are tried in the
  order of `RULES` in `bot/deployments/verdict/rules.py`; the first match counts.

What cannot be proven is called unknown. It is looked at again later, and the message is corrected
when the end comes to be known.
"""

_CAUSES = """\
## What Dokku prints at an end

Each text that a real Dokku was seen or is known to give, with the end that it comes to in the rows
above, and what shows it. *Not met* says why no deployment of the bot ends so.

| exit status | text | what it comes to |
|---|---|---|
{rows}
"""
_VERSIONS = """\
## Versions of Dokku

What is found out once per server, and again after each login. `deploybot check` says it too.

| came with | what |
|---|---|
{rows}

| version | how far the bot can be trusted with it |
|---|---|
{standings}
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

_NOT_YET: Mapping[Kind, str] = {
    Kind.CHECK: "*none yet:* the release is watched",
    Kind.WATCH: "*none yet:* looks again",
    Kind.REQUEUE: "*none:* keeps its place in the line",
    Kind.WAIT: "*none yet:* looks again",
    Kind.BEGIN_AGAIN: "*none yet:* the settle time begins again",
}
_START_AGAIN = "*started once more;* where that is not allowed: "


def verdicts_page() -> str:
    """The whole page."""
    return "\n".join((_INTRODUCTION, *(_section(one) for one in SECTIONS), _causes(), _versions()))


def rule_of(row: Row) -> str | None:
    """The rule that decides on a row; None for a look that decides nothing yet."""
    found = verdict_of(row)
    return found.rule if found else None


def verdict_of(row: Row) -> Verdict | None:
    """What the rules say of a row; None for a look that decides nothing yet."""
    outcome = row.outcome()
    return None if outcome.kind in {Kind.WAIT, Kind.BEGIN_AGAIN} else outcome


def _causes() -> str:
    return _CAUSES.format(rows="\n".join(_cause(one) for one in CAUSES))


def _cause(cause: Cause) -> str:
    met = [f"{_end(row)} ({_proof(row)})" for row in rows_of(cause)]
    unmet = [f"*not met:* {cause.not_met}"] if cause.not_met else []
    return f"| {cause.exits} | {_code(cause.says)} | {'; '.join(met + unmet)} |"


def _code(text: str) -> str:
    if text.startswith("("):
        return text
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _versions() -> str:
    since = sorted(SINCE.items(), key=lambda item: item[1], reverse=True)
    rows = [f"| {'.'.join(map(str, version))} | {MEANS[name]} |" for name, version in since]
    standings = [f"| {shown} | {capabilities(answer).standing()} |" for shown, answer in _SHOWN]
    return _VERSIONS.format(rows="\n".join(rows), standings="\n".join(standings))


def _section(section: Section) -> str:
    head = "| what was read | end | live | what the message says | rule | proof |"
    lines = [f"## {section.title}", "", section.text, "", head, "|---|---|---|---|---|---|"]
    lines += [_line(row) for row in section.rows]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    verdict = verdict_of(row)
    cells = (
        row.read,
        _end(row),
        _live(verdict.live) if verdict else "",
        _cell(verdict.reason) if verdict else "",
        f"`{rule_of(row)}`" if verdict else "",
        _proof(row),
    )
    return f"| {' | '.join(cells)} |"


def _proof(row: Row) -> str:
    if row.alone:
        return f"rules alone: {row.alone}"
    named = f"`{row.recording}`" if row.recording else ""
    if row.model:
        return f"model, as in {named}" if named else "model"
    return f"recording {named}"


def _end(row: Row) -> str:
    verdict = row.outcome()
    if verdict.phase is None:
        return _NOT_YET[verdict.kind]
    end = f"**{verdict.phase}**"
    if verdict.phase is Phase.FAILED:
        end += f" · `{verdict.failure}`"
    return _START_AGAIN + end if verdict.kind is Kind.START_AGAIN else end


def _live(live: Live | None) -> str:
    return f"`{live}`" if live else ""


def _cell(text: str) -> str:
    """As Markdown takes it in a table."""
    return text.replace("|", "\\|").replace("[", "\\[").replace("^", "\\^")
