"""docs/commands.md, made from the tables of commands and buttons."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bot.deployments.model import Actor, Deployment, Failure, Live, Phase, Trigger
from bot.deployments.progress import Blocker, Progress
from bot.slack.listeners.clicks import ActionButton
from bot.slack.listeners.commands import COMMANDS, usage_of
from bot.slack.listeners.log_window import LOG_BUTTONS
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.render.blocks import Situation

_PAGE = """\
# Commands and buttons

<!-- Made by `make docs` from the tables in bot/slack/listeners: commands.py, message_buttons.py and
log_window.py. -->

## Commands

{commands}

![The message of a running deployment](pictures/running.png)

Commands work in upper and lower case. `APP` is a name from `/deploy apps`. `REF` is a branch, a
tag or a commit. `SERVER` is the name of a server in the settings; it is needed only if the app is
on several. `ID` is the id of a deployment, or at least six characters from its start or its end.
`APP@REF` means the same as `APP REF`. Every command that names an app accepts `on SERVER`:
`/deploy status myapp on production`.

Only you see the answers to your questions; everyone in the channel sees who sets and ends a lock.
If a command has a mistake, nothing starts and you get one line that says what is wrong and what
to do. If a command, an app, a server, a branch or a tag is nearly right, or the app comes before
the command, it comes with a button that runs the corrected line. The bot posts the message of a
deployment in the channel where you asked for it, so it must be a member of that channel:
`/invite @deploybot`.

## Locks

`/deploy lock APP` lets only you deploy an app; `/deploy lock all` freezes every app. Add `for
30m`, `for 2h` or `for 1d`, and then a reason: `/deploy lock myapp for 2h release day`. The `for`
may be left out. A lock without a time stays until someone unlocks it, and the bot says so. It
announces the lock in the channel, and its end when the time is over. Locking again changes your
own lock. What already runs goes on; what waits stays in the queue and says who holds the lock.
Retries and rollbacks obey locks too. The holder's own deployments pass those that wait.

If someone else holds the lock, the refusal names the holder, the end and the reason. Approvers of
the app (if none are set, everyone who may deploy it) can press `Unlock` or `Take over`, which
keeps end and reason. Both ask first, and the former holder gets a direct message. `Tell me when
it is free` sends you one direct message when nothing runs or waits and no lock stops you.

![The refusal that someone else gets while shop is locked](pictures/locked.png)

`/deploy deploy lock` deploys an app named `lock`.

## Without a slash command

Slack has no slash commands in threads. In the thread of a deployment, reply with one of these
words, with or without mentioning the bot, and it answers in the thread:
{thread_words}.
The bot ignores every other reply, unless it mentions the bot: then it answers with help.
{acting_words} count only as the bare word: `rollback?` or *cancel* in bold does nothing.

In threads, mentions and direct messages, `cancel` and `rollback` ask you first, as their buttons
do. Only you see the question. A rollback shows from which commit to which one it goes.

In a channel, mention the bot before any command: `@deploybot deploy APP [REF]`, or shorter
`@deploybot APP [REF]`. In a direct message to the bot, the command is enough.
A group direct message works like a channel: mention the bot, or use `/deploy`. Nobody can be
invited into one later, so start it with the bot in it.

## The form, and the message actions

`/deploy` without anything else opens a form with app, ref and, if there are several, the server.
Apps are listed by server. Branches and tags are searched while you type, if the bot can list the
repository; where none contains what you type, the form offers those that are spelled alike.
Anything else you type can be chosen too. Below the fields the form shows what is live,
who holds a lock, whose approval is needed, what runs and what waits. A mistake is shown at its
field, and the form stays open. Nothing starts before you submit it.

![The form, with what is live below its fields](pictures/form.png)

The message action *Deploy from message*, in the menu of any message, opens the same form filled
with what the message names: a link to a repository, branch, commit, tag, pull or merge request (on
GitHub, GitLab, Bitbucket, Gitea or Forgejo), `APP@REF`, `APP REF`, or a commit. Messages and
attachments of other bots are read as well. If the message names several things, you choose one. On
the message of a deployment it offers the same deployment again.

The message action *Deployment status*, on the message of a deployment or in its thread, answers in
the thread.

## App Home

The *Home* tab of the app shows what awaits approval, what runs, what waits and what is locked, and
the last 20 deployments with their results, for all apps and servers. Each has a link to its message
and the buttons of that message; a lock that you may end has `Unlock`. Who may press a button is
checked as on the message, and the answer comes as a direct message; where the app's Messages tab is
off, in a window. `Retry` and `Roll back` post the new message in the channel of the old one.

`Deploy` opens the form. The message goes to the channel where the app was deployed last; an app
that was never deployed gets its message in your direct messages with the bot.

The tab is refreshed every few seconds if something changes, for ten minutes after you opened it.

![The Home tab](pictures/home.png)

## Approvals

An app's table may ask for an approval before a deployment is queued (`approval`, see
[configuration.md](configuration.md)): `confirm` for one click of the requester or of an approver,
`second_person` for an approver who is not the requester. Where no `approvers` are named, the
deployers approve.

The message shows the commit, and mentions the approvers once in its thread. `Approve` counts for
the commit that the message showed: if the branch has moved since, nothing is approved, the message
shows the new commit, and the approver decides again. `Reject` asks for a reason, which may be left
out. The first decision counts. Without one the deployment expires after `approval_ttl`. A retry is
approved like a new request; a rollback needs no approval.

![A deployment that waits for its approval](pictures/approval.png)

An operator decides at the shell: `deploybot approve APP`, `deploybot reject APP --reason "…"`.

## Results

At the end the message says what is live, and one reply in its thread mentions the requester. With
`broadcast`, the reply about a failure is shown in the channel too. Each channel listed in `notify`
(see [configuration.md](configuration.md)) also gets the result, and a correction of it: one message
with a link to the deployment's own, which mentions no one. Invite the bot to these channels;
`deploybot check` says where it is missing. What can't be posted there is logged, and changes
nothing about the deployment.

At a result the button that makes most sense comes first: `Retry` after a failure, or `Roll back` if
the failed deployment left something else serving.

## Buttons

{buttons}

![The message of a failed build](pictures/failed-build.png)

Clicking an outdated button only shows you a notice. `Roll back` deploys the commit that its dialog
names, however much later you click. Where the bot has not yet proven an earlier release, the dialog
offers the commit that Dokku's own record named when the deployment started. That commit is *not
verified by deploybot*. `/deploy rollback` asks before it deploys such a commit.
{lasting} keep working on old messages.

`Cancel on the server` is for a build that goes on although the bot's connection to it was lost, and
for someone else's build in front of the queue that takes longer than a deployment may. It shows
only you whose build it is, how long it runs, whether its log grows, and the risk, and asks. Dokku
before 0.38 can't do this, so there is no button.

`Details` shows only you what a result rests on: the rule that decided and its evidence, Dokku's
build, and the containers before and after. Below the answer to `/deploy status APP` it shows how
the containers that run now compare with those that the last verified deployment left. `Older` and
`Newer` turn the pages of `/deploy history APP`.

The *Full log* window has buttons too, above the log:

{log_buttons}

*First error* names the line that says why, and shows its page. *Post as file*
uploads the whole log into the thread of the deployment.
"""

_SAMPLES = {
    "awaiting approval": Phase.AWAITING_APPROVAL,
    "waiting": Phase.QUEUED,
    "running": Phase.BUILDING,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "cancelled": Phase.CANCELLED,
}


def commands_page() -> str:
    """The whole page."""
    return _PAGE.format(
        commands=_table(
            ("command", "what it does", "also in a thread"),
            (
                (f"`/deploy {usage_of(row)}`", row.summary, "yes" if row.in_thread else "")
                for row in COMMANDS
            ),
        ),
        acting_words=_listed(f"`{row.name}`" for row in COMMANDS if row.in_thread and row.acts),
        thread_words=_listed(f"`{row.name}`" for row in COMMANDS if row.in_thread),
        buttons=_table(
            ("button", "shown while the deployment is", "who may use it", "asks first"),
            (
                (row.label, _shown_while(row), row.permission, _asked(row))
                for row in MESSAGE_BUTTONS
            ),
        ),
        lasting=_listed(
            dict.fromkeys(f"`{row.label}`" for row in MESSAGE_BUTTONS if row.works_when_hidden)
        ),
        log_buttons=_table(
            ("button", "who may use it"), ((row.label, row.permission) for row in LOG_BUTTONS)
        ),
    )


def _shown_while(button: ActionButton) -> str:
    """The states that show it, for a deployment with a commit to roll back to and nothing live."""
    return ", ".join(
        name for name, phase in _SAMPLES.items() if any(map(button.shows, _situations(phase)))
    )


def _situations(phase: Phase) -> Iterator[Situation]:
    yield Situation(deployment=_sample(phase, "0" * 40))
    usual = _sample(phase, None)
    yield Situation(deployment=usual)
    left = replace(usual, build_id="b", left_build="b", live=Live.UNKNOWN)
    yield Situation(
        deployment=replace(left, failure=Failure.TIMED_OUT if phase is Phase.FAILED else None),
        progress=Progress(blocker=Blocker(what="", build="b")),
    )


def _sample(phase: Phase, proven: str | None) -> Deployment:
    """With `proven` to roll back to, else with what only Dokku's record names."""
    return Deployment(
        id="01K9ZB0000000000000000000A",
        server="production",
        app="myapp",
        dokku_app="myapp",
        repo=None,
        ref="main",
        ready=True,
        phase=phase,
        live=Live.NONE,
        rollback_sha=proven,
        previous_sha="1" * 40,
        requested_by=Actor(user="U0123"),
        trigger=Trigger.COMMAND,
        request_key="",
        channel="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _asked(button: ActionButton) -> str:
    return button.confirm.title if button.confirm else button.asks


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}"
