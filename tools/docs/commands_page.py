"""docs/commands.md, made from the tables of words and buttons."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bot.deployments.model import Actor, Deployment, Live, Phase, Progress, Trigger
from bot.slack.buttons import BUTTONS, Button
from bot.slack.listeners.commands import LATER, WORDS, usage_of
from bot.slack.render.log import LABELS

_PAGE = """\
# What one can say to deploybot

<!-- Made from bot/slack/listeners/commands.py and bot/slack/buttons.py by `make docs`. -->

## Words

{words}

Words count in any case. `APP` is a name from `/deploy apps`, `REF` a branch, a tag or a commit,
`SERVER` a server of the settings (needed only where an app is on several), `ID` a deployment's id
or six or more characters of its beginning or end. `APP@REF` is the same as `APP REF`. `on SERVER`
may follow wherever an app is named: `/deploy status myapp on production`.

Answers that only the caller needs are shown to the caller alone. A mistake gets one such line,
with the cause and the next step, and nothing is started. The bot posts the message of a deployment
where it was asked for, so it has to be a member of that channel: `/invite @deploybot`.

{later}
belong to later releases. Until then they say so, and no app of that name is deployed by mistake:
`/deploy deploy lock` deploys an app called `lock`.

## Without the slash

Slack offers no slash commands in threads. So a deployment's thread takes these replies, alone or
after a mention of the bot, and answers in the thread:
{thread_words}.
Anything else in a thread is left alone, unless it mentions the bot: then it gets help.

In a channel `@deploybot deploy APP [REF]`, `@deploybot APP [REF]` and every other word work too,
and in a direct message to the bot the words alone do.

## The form, and *Deploy from message*

`/deploy` alone opens a form: app, ref and, where there are several, the server. The message action
*Deploy from message* (in the menu of any message) opens the same form, filled with what the
message names: a link to a repository, branch, commit, tag or pull request of the common forges,
`APP@REF`, `APP REF`, or a commit. On the message of a deployment it offers the same deployment
again. Nothing starts before the form is sent.

## Buttons

{buttons}

A click on a button that the message no longer has does nothing but say so, to the clicker alone.
{lasting} keep working on old messages.

The log's window has
{log_buttons}.
The last one uploads the whole log into the thread of the deployment.
"""

_SAMPLES = {
    "waiting": Phase.QUEUED,
    "running": Phase.BUILDING,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "cancelled": Phase.CANCELLED,
}


def commands_page() -> str:
    """The whole page."""
    return _PAGE.format(
        words=_table(
            ("say", "it", "in a thread"),
            (
                (f"`/deploy {usage_of(row)}`", row.summary, "yes" if row.in_thread else "")
                for row in WORDS
            ),
        ),
        later=_listed(f"`{word}`" for word in sorted(LATER)),
        thread_words=_listed(f"`{row.name}`" for row in WORDS if row.in_thread),
        buttons=_table(
            ("button", "while the deployment is", "asks first"),
            ((button.label, _shown_while(button), _asked(button)) for button in BUTTONS),
        ),
        lasting=_listed(f"`{button.label}`" for button in BUTTONS if button.lasting),
        log_buttons=_listed(f"*{label}*" for label in LABELS.values()),
    )


def _shown_while(button: Button) -> str:
    """Where a deployment with a release to go back to, and nothing live, shows it."""
    return ", ".join(
        name for name, phase in _SAMPLES.items() if button.shows(_sample(phase), Progress())
    )


def _sample(phase: Phase) -> Deployment:
    return Deployment(
        id="01K9ZB0000000000000000000A",
        server="production",
        app="myapp",
        dokku_app="myapp",
        repo=None,
        ref="main",
        phase=phase,
        live=Live.NONE,
        rollback_sha="0" * 40,
        requested_by=Actor(user="U0123"),
        trigger=Trigger.COMMAND,
        request_key="",
        channel="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _asked(button: Button) -> str:
    return button.confirm.title if button.confirm else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}"
