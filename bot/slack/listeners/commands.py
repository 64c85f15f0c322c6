"""The commands: one table for slash command, mention, direct message and thread."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.deployments.live.rollback import NotVerified
from bot.deployments.lock import Lock
from bot.deployments.model import Deployment, Trigger
from bot.deployments.requests.service import Request
from bot.deployments.states import ENDINGS
from bot.errors import Declined
from bot.names import quoted, set_command, slash, typed
from bot.slack.listeners import answers as say
from bot.slack.listeners import approvals, details, locks, log_window, modals, questions
from bot.slack.listeners.again import cancel_deployment, deploy_again, say_where
from bot.slack.listeners.desk import Call, Desk, as_answer
from bot.slack.listeners.payloads import (
    About,
    Ask,
    Body,
    Line,
    asker_of,
    delivery_key,
    read_about,
    read_ask,
    read_line,
    word,
)
from bot.slack.listeners.suggestions import suggest
from bot.slack.listeners.targets import find_target, names_code
from bot.slack.render.blocks import Answer
from bot.slack.render.history import HistoryPage

USAGE = "rollback APP [SHA]"
HISTORY_OF_ALL = "The Home tab lists the latest of every app."


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table."""

    name: str
    usage: str
    """What may follow, without the name."""
    summary: str
    run: Callable[[Call], Awaitable[None]]
    in_thread: bool = False
    """Its name alone also works, as a reply in a deployment's thread."""
    acts: bool = False
    """It changes something: only the bare word counts, never `cancel?` or `*cancel*`."""


async def on_command(desk: Desk, body: Body) -> None:
    """`/deploy …`, under any name that the Slack app gave it."""
    set_command(word(body, "command"))
    asker = await desk.admit(asker_of(body))
    call = Call(
        desk=desk,
        asker=asker,
        answers=desk.answers(asker),
        trigger=Trigger.COMMAND,
        request_key=delivery_key(body),
        trigger_id=word(body, "trigger_id"),
    )
    await run_line(call, word(body, "text"))


async def run_line(call: Call, text: str) -> None:
    """Run the command in a line of text. Declined: nothing was started, and why."""
    line = read_line(text, TABLE.keys(), exact=ACTS)
    await run(call, line)


async def run(call: Call, line: Line) -> None:
    """Run a line that was read. A misspelling gets a suggestion. Declined, as `run_line`."""
    row = TABLE[line.word or "deploy"]
    try:
        await row.run(replace(call, rest=line.rest))
    except Declined as declined:
        await suggest(call, line, declined, words=WORDS)


async def deploy(call: Call) -> None:
    """Start a deployment, or open the form."""
    if call.rest or call.trigger_id is None:
        await start(call, await _read_deploy(call))
    else:
        await modals.open_form(call.desk, call.asker)


async def _read_deploy(call: Call) -> Ask:
    """`APP [REF] [to SERVER]`, or a link to a repository, branch, commit or pull request."""
    if call.rest and "://" in call.rest[0]:
        if not names_code(call.rest[0]):
            raise Declined(
                "This link names no repository, branch, tag, commit or pull request, so nothing "
                f"was started. Use {slash('APP [REF]')}, or a link to one of these."
            )
        target = find_target(call.rest[0], await call.desk.queries.known_apps())
        if target.app is not None:
            ask = read_ask((target.app, *call.rest[1:]))
            return replace(ask, ref=ask.ref or target.ref, server=ask.server or target.server)
    return read_ask(call.rest)


async def start(call: Call, ask: Ask) -> None:
    """Start a deployment. Its message is the answer; a duplicate gets none."""
    new = await call.desk.service.request(
        Request(
            app=ask.app,
            ref=ask.ref,
            server=ask.server,
            actor=call.asker.actor,
            trigger=call.trigger,
            request_key=call.request_key,
            channel=call.asker.channel,
        )
    )
    if new is not None and new.channel != call.asker.channel:
        await call.answers.say(say.started_answer(new, name_server=call.desk.names_server))


async def status(call: Call) -> None:
    """The state of a deployment or an app; without a subject, everything running or queued."""
    queries, now = call.desk.queries, call.desk.clock.now()
    named = call.desk.names_server
    about = _read_about(call)
    if about.subject is None and call.about is None:
        unfinished = [queries.snapshot(one) for one in await queries.store.unfinished()]
        shown = [one for one in unfinished if about.server in {None, one[0].server}]
        keys = {None, "", about.server}
        locked = [one for one in await _held(call) if not about.server or one.key.server in keys]
        answer = say.unfinished_answer(shown, now=now, locks=locked, name_server=named)
        await call.answers.say(answer)
        return
    found_by_id = call.about if about.subject is None else await queries.find_by_id(about.subject)
    if found_by_id is None:
        await call.answers.say(await _live(call, about.subject or "", about.server))
        return
    deployment, progress = queries.snapshot(found_by_id)
    answer = say.status_answer(deployment, progress, now=now, name_server=named)
    if deployment.phase in ENDINGS:
        answer = say.with_live_state(answer, await _live_now(call, deployment))
    await call.answers.say(answer)


async def _live_now(call: Call, deployment: Deployment) -> Answer:
    try:
        return await _live(call, deployment.app, deployment.server)
    except Declined as no_app:
        return as_answer(str(no_app))


async def _live(call: Call, app: str, server: str | None) -> Answer:
    desk = call.desk
    found, _ = await desk.states.read(desk.queries, app, server, reread=True)
    now, held = desk.clock.now(), await _held(call)
    return say.live_answer(
        found, desk.queries.snapshot, now=now, locks=held, name_server=desk.names_server
    )


async def _held(call: Call) -> Sequence[Lock]:
    return await call.desk.service.locks.held()


async def history(call: Call) -> None:
    """The newest deployments of an app; `Older` shows more."""
    about = _read_about(call)
    one = await _subject(call, about, usage="history APP", more=HISTORY_OF_ALL)
    server = one.server if about.subject is None or _is_by_id(one, about) else about.server
    page = HistoryPage(app=one.app, server=server)
    await call.answers.say(await details.history_answer(call, page))


async def show_log(call: Call) -> None:
    """The log: a modal where one can be opened, else a file in the thread."""
    deployment = await _subject(call, _read_about(call), usage="logs APP")
    if call.trigger_id is not None:
        await log_window.open_log(
            call.desk, trigger_id=call.trigger_id, deployment_id=deployment.id
        )
        return
    at = call.answers.asker
    await log_window.post_file(call.desk, deployment, channel=at.channel, thread_ts=at.thread_ts)


async def cancel(call: Call) -> None:
    """Cancel the running deployment of an app or, if none is running, the first in its queue."""
    deployment = await _subject(call, _read_about(call), usage="cancel APP")
    if call.answers.aloud:
        await questions.ask_cancel(call, deployment)
    else:
        await cancel_deployment(call, deployment)


async def retry(call: Call) -> None:
    """Deploy the same ref again."""
    deployment = await _subject(call, _read_about(call), usage="retry APP")
    await deploy_again(call, deployment, back=False)


async def rollback(call: Call) -> None:
    """Deploy a commit that was proven live: the latest earlier one, or the given one."""
    about = _read_about(call, rest=True)
    service, app, server = call.desk.service, about.subject, about.server
    by_id = (
        await service.queries.find_by_id(app) if app else await _subject(call, about, usage=USAGE)
    )
    if by_id is not None:
        app, server = by_id.app, by_id.server
    if call.answers.aloud:
        if by_id is not None and about.rest is None:
            plan = await service.plan_rollback(by_id.id)
        else:
            plan = await service.plan_app_rollback(app or "", about.rest, server=server)
        await questions.ask_rollback(call, plan)
        return
    try:
        if by_id is not None and about.rest is None:
            await deploy_again(call, by_id, back=True)
            return
        async with call.desk.repeats.hold(f"rollback {app}"):
            new = await service.rollback_app(
                app or "",
                about.rest,
                server=server,
                actor=call.asker.actor,
                trigger=call.trigger,
                request_key=call.request_key,
                channel=call.asker.channel,
            )
    except NotVerified as unverified:
        await questions.ask_rollback(call, unverified.plan)
    else:
        await say_where(call, new)


def _read_about(call: Call, *, rest: bool = False) -> About:
    """As `read_about`, with the server's own spelling. Declined: there is no such server."""
    about = read_about(call.rest, rest=rest)
    if about.server is None:
        return about
    names = {name.casefold(): name for name in call.desk.queries.servers.names()}
    if about.server.casefold() not in names:
        raise Declined(
            f"There is no server `{quoted(about.server)}`. I know: {', '.join(names.values())}."
        )
    return replace(about, server=names[about.server.casefold()])


async def _subject(call: Call, about: About, *, usage: str, more: str = "") -> Deployment:
    """The deployment: by app or id, else the one of the thread. Declined: there is none."""
    if about.subject is not None:
        return await call.desk.queries.find(about.subject, server=about.server)
    if call.about is None:
        more = more or f"{slash('status')} lists what is running."
        raise Declined(f"Which app or deployment? Use {slash(usage)}. {more}")
    return call.about


def _is_by_id(one: Deployment, about: About) -> bool:
    """Whether the subject was (a part of) the deployment's id, not the app's name."""
    return about.subject is not None and about.subject != one.app


async def apps(call: Call) -> None:
    """What can be deployed."""
    server = _read_about(call).server
    known = [one for one in await call.desk.queries.known_apps() if server in {None, one.server}]
    desk = call.desk
    servers = [one for one in desk.queries.servers.names() if server in {None, one}]
    await call.answers.say(say.apps_answer(known, servers=servers, name_server=desk.names_server))


async def help_(call: Call) -> None:
    """The table; in a deployment's thread, the commands that work there."""
    if call.about is not None:
        rows = [(row.name, row.summary) for row in COMMANDS if row.in_thread]
    else:
        rows = [(typed(usage_of(row)), row.summary) for row in COMMANDS]
    await call.answers.say(say.help_answer(rows))


def usage_of(row: Command) -> str:
    """`status [APP|ID]`; the row of `deploy` needs no name."""
    return " ".join(part for part in (row.name, row.usage) if part)


COMMANDS: Sequence[Command] = (
    Command(
        name="",
        usage="APP [REF] [to SERVER]",
        summary=(
            "Deploy a branch, tag or commit (default: the app's default branch), or a link to a "
            "branch, commit or pull request. If an app is named like a command, write `deploy` "
            "before it."
        ),
        run=deploy,
        acts=True,
    ),
    Command(
        name="status",
        usage="[APP|ID]",
        summary=(
            "Show what is live for an app, since when and by whom, or how a deployment is going. "
            "`Details` shows the proof. Without arguments: everything running or queued."
        ),
        run=status,
        in_thread=True,
    ),
    Command(
        name="history",
        usage="APP",
        summary="List the latest deployments of an app, ten a page, and mark the one that is live.",
        run=history,
    ),
    Command(
        name="logs",
        usage="APP|ID",
        summary="Show the full log; in a thread, as a file.",
        run=show_log,
        in_thread=True,
    ),
    Command(
        name="cancel",
        usage="APP|ID",
        summary=(
            "Cancel the running deployment of an app or, if none is running, the first in its "
            "queue."
        ),
        run=cancel,
        in_thread=True,
        acts=True,
    ),
    Command(
        name="approve",
        usage="APP|ID",
        summary="Approve the deployment of an app that waits for it.",
        run=approvals.approve,
        acts=True,
    ),
    Command(
        name="reject",
        usage="APP|ID [REASON]",
        summary="Reject the deployment of an app that waits for an approval.",
        run=approvals.reject,
        acts=True,
    ),
    Command(
        name="retry",
        usage="APP|ID",
        summary="Deploy the same branch, tag or commit again; a branch at its newest commit.",
        run=retry,
        in_thread=True,
        acts=True,
    ),
    Command(
        name="rollback",
        usage="APP [SHA]",
        summary=(
            "Deploy the commit that was live before. With a SHA: that commit, if the bot has "
            "verified it live."
        ),
        run=rollback,
        in_thread=True,
        acts=True,
    ),
    Command(
        name="lock",
        usage="APP|all [for 2h] [reason]",
        summary=(
            "Let only yourself deploy an app, or any app: until the time is over or someone "
            "unlocks it. Everyone sees the lock, its end and the reason."
        ),
        run=locks.lock,
        acts=True,
    ),
    Command(
        name="unlock",
        usage="APP|all",
        summary="End a lock. If it isn't yours, the bot asks first and notifies its holder.",
        run=locks.unlock,
        acts=True,
    ),
    Command(
        name="queue",
        usage="",
        summary="Show what runs, what waits for what, and the locks, on every server.",
        run=locks.queue,
    ),
    Command(name="apps", usage="", summary="List the apps the bot can deploy.", run=apps),
    Command(name="help", usage="", summary="Show this list.", run=help_, in_thread=True),
)
TABLE: Mapping[str, Command] = {row.name or "deploy": row for row in COMMANDS}
WORDS = {name: "APP" in row.usage for name, row in TABLE.items()}
"""Command -> whether an app follows it."""
ACTS = frozenset(name for name, row in TABLE.items() if row.acts)
