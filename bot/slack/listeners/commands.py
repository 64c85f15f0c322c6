"""The words of the bot: one table for slash command, mention, DM and thread."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.deployments.model import Deployment, Trigger
from bot.deployments.requests.service import Request
from bot.deployments.states import ENDINGS
from bot.errors import Declined
from bot.slack.listeners import answers as say
from bot.slack.listeners import log_window, modals
from bot.slack.listeners.desk import Call, Desk, as_answer
from bot.slack.listeners.parse import About, Ask, read_about, read_ask, read_line
from bot.slack.listeners.payloads import Body, asker_of, delivery_key, word
from bot.slack.listeners.targets import find_target
from bot.slack.render.blocks import Answer

HISTORY = 10
USAGE = "rollback APP [SHA]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One row of the table."""

    name: str
    usage: str
    """What may follow, without the name."""
    summary: str
    run: Callable[[Call], Awaitable[None]]
    in_thread: bool = False
    """It also stands alone, as a reply in a deployment's thread."""


async def on_command(desk: Desk, body: Body) -> None:
    """`/deploy …`."""
    asker = asker_of(body)
    desk.admit(asker)
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
    """Do what a line says. Declined: the sentence for its author; nothing was started."""
    line = read_line(text, TABLE.keys() | LATER)
    if line.word in LATER:
        raise Declined(f"`{line.word}` is not in this release. `/deploy help` lists what is.")
    row = TABLE[line.word or "deploy"]
    await row.run(replace(call, rest=line.rest))


async def deploy(call: Call) -> None:
    """Start a deployment, or open the form."""
    if call.rest or call.trigger_id is None:
        await start(call, await _read_deploy(call))
    else:
        await modals.open_form(call.desk, trigger_id=call.trigger_id, channel=call.asker.channel)


async def _read_deploy(call: Call) -> Ask:
    """`APP [REF] [to SERVER]`, or a link to a repository, branch, commit or pull request."""
    if call.rest and "://" in call.rest[0]:
        target = find_target(call.rest[0], await call.desk.queries.known_apps())
        if target.app is not None:
            ask = read_ask((target.app, *call.rest[1:]))
            return replace(ask, ref=ask.ref or target.ref, server=ask.server or target.server)
    return read_ask(call.rest)


async def start(call: Call, ask: Ask) -> None:
    """Ask the service. Its message is the answer; a duplicate is answered with nothing."""
    await call.desk.service.request(
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


async def status(call: Call) -> None:
    """Where a deployment stands; without a subject, what runs and waits."""
    queries, now = call.desk.queries, call.desk.clock.now()
    about = read_about(call.rest)
    if about.subject is None and call.about is None:
        unfinished = [queries.snapshot(one) for one in await queries.store.unfinished()]
        shown = [one for one in unfinished if about.server in {None, one[0].server}]
        await call.answers.say(say.unfinished_answer(shown, now=now))
        return
    meant = call.about if about.subject is None else await queries.find_by_id(about.subject)
    if meant is None:
        found = await queries.live_state(about.subject or "", server=about.server)
        await call.answers.say(say.standing_answer(found, queries.snapshot, now=now))
        return
    deployment, progress = queries.snapshot(meant)
    answer = say.status_answer(deployment, progress, now=now)
    if deployment.phase in ENDINGS:
        answer = say.and_standing(answer, await _live_now(call, deployment))
    await call.answers.say(answer)


async def _live_now(call: Call, deployment: Deployment) -> Answer:
    queries = call.desk.queries
    try:
        found = await queries.live_state(deployment.app, server=deployment.server)
    except Declined as no_app:
        return as_answer(str(no_app))
    return say.standing_answer(found, queries.snapshot, now=call.desk.clock.now())


async def history(call: Call) -> None:
    """The newest deployments of an app."""
    about = read_about(call.rest)
    one = await _subject(call, about, usage="history APP")
    server = one.server if about.subject is None or _is_meant_by_id(one, about) else about.server
    found = await call.desk.queries.history(one.app, server=server, limit=HISTORY)
    await call.answers.say(say.history_answer(one.app, found, now=call.desk.clock.now()))


async def show_log(call: Call) -> None:
    """The log: a modal where one can be opened, else a file in the thread."""
    deployment = await _subject(call, read_about(call.rest), usage="logs APP")
    if call.trigger_id is not None:
        await log_window.open_log(
            call.desk, trigger_id=call.trigger_id, deployment_id=deployment.id
        )
        return
    at = call.answers.asker
    await log_window.post_file(call.desk, deployment, channel=at.channel, thread_ts=at.thread_ts)


async def cancel(call: Call) -> None:
    """Cancel: the running one of an app, else its first waiting one."""
    await cancel_deployment(call, await _subject(call, read_about(call.rest), usage="cancel APP"))


async def cancel_deployment(call: Call, deployment: Deployment) -> None:
    """Request a cancel; the answer goes to whoever asked."""
    sentence = await call.desk.service.cancel(
        deployment.id, actor=call.asker.actor, through=call.trigger
    )
    await call.answers.say(as_answer(sentence))


async def retry(call: Call) -> None:
    """Deploy the same ref again."""
    deployment = await _subject(call, read_about(call.rest), usage="retry APP")
    await deploy_again(call, deployment, back=False)


async def rollback(call: Call) -> None:
    """Deploy a commit proven live: of an app the newest earlier one, or the one that is named."""
    about = read_about(call.rest, rest=True)
    service, app, server = call.desk.service, about.subject, about.server
    by_id = (
        await service.queries.find_by_id(app) if app else await _subject(call, about, usage=USAGE)
    )
    if by_id is not None:
        if about.rest is None:
            await deploy_again(call, by_id, back=True)
            return
        app, server = by_id.app, by_id.server
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
    await _say_where(call, new)


async def _subject(call: Call, about: About, *, usage: str = "status APP") -> Deployment:
    """The deployment that is meant: by name or id, else the one of the thread. Declined."""
    if about.subject is not None:
        return await call.desk.queries.find(about.subject, server=about.server)
    if call.about is None:
        raise Declined(f"Which one? `/deploy {usage}`. `/deploy status` lists what runs.")
    return call.about


def _is_meant_by_id(one: Deployment, about: About) -> bool:
    """Whether the subject that found it was (a part of) its id, not an app's name."""
    return about.subject is not None and about.subject != one.app


async def deploy_again(call: Call, deployment: Deployment, *, back: bool) -> None:
    """Retry or roll back. In a thread the answer says where the new deployment is."""
    service = call.desk.service
    async with call.desk.repeats.hold(deployment.id):
        await refuse_twice(service.queries.store.unfinished, deployment, back=back)
        act = service.rollback if back else service.retry
        new = await act(
            deployment.id,
            actor=call.asker.actor,
            trigger=call.trigger,
            request_key=call.request_key,
            channel=call.asker.channel,
        )
    await _say_where(call, new)


async def _say_where(call: Call, new: Deployment | None) -> None:
    """To those who all read it; to the others the new message is the answer."""
    if new is not None and call.answers.aloud:
        await call.answers.say(say.started_answer(new))


async def refuse_twice(
    unfinished: Callable[[], Awaitable[Sequence[Deployment]]], deployment: Deployment, *, back: bool
) -> None:
    """Declined: the same is already under way, and where."""
    for one in await unfinished():
        if deployment.id == (one.rollback_of if back else one.retry_of):
            raise Declined(say.already_words(one, back=back))


async def apps(call: Call) -> None:
    """What can be deployed."""
    server = read_about(call.rest).server
    known = [one for one in await call.desk.queries.known_apps() if server in {None, one.server}]
    await call.answers.say(say.apps_answer(known, servers=call.desk.queries.servers.names()))


async def help_(call: Call) -> None:
    """The table; in a deployment's thread, the words that stand there alone."""
    if call.about is not None:
        rows = [(row.name, row.summary) for row in WORDS if row.in_thread]
    else:
        rows = [(f"/deploy {usage_of(row)}", row.summary) for row in WORDS]
    await call.answers.say(say.help_answer(rows))


def usage_of(row: Word) -> str:
    """`status [APP|ID]`; the row of `deploy` needs no name."""
    return " ".join(part for part in (row.name, row.usage) if part)


WORDS: Sequence[Word] = (
    Word(
        name="",
        usage="APP [REF] [to SERVER]",
        summary=(
            "Deploys a branch, tag or commit; without one, the app's default. A link to a branch, "
            "commit or pull request does as well. `deploy` may stand in front, as it must for an "
            "app that is called like a word of this list."
        ),
        run=deploy,
    ),
    Word(
        name="status",
        usage="[APP|ID]",
        summary=(
            "Says what is live of an app, by what its containers show now, or where a deployment "
            "stands; alone, what runs and waits."
        ),
        run=status,
        in_thread=True,
    ),
    Word(
        name="history",
        usage="APP",
        summary="Lists the newest deployments of an app.",
        run=history,
    ),
    Word(
        name="logs",
        usage="APP|ID",
        summary="Shows the whole log; in a thread, as a file.",
        run=show_log,
        in_thread=True,
    ),
    Word(
        name="cancel",
        usage="APP|ID",
        summary="Cancels the running deployment of an app, else the first waiting one.",
        run=cancel,
        in_thread=True,
    ),
    Word(
        name="retry",
        usage="APP|ID",
        summary="Deploys the same ref again, looked up anew.",
        run=retry,
        in_thread=True,
    ),
    Word(
        name="rollback",
        usage="APP [SHA]",
        summary=(
            "Deploys the newest commit that was proven live before; with a SHA, that one, if this "
            "bot has proven it live."
        ),
        run=rollback,
        in_thread=True,
    ),
    Word(name="apps", usage="", summary="Lists what can be deployed.", run=apps),
    Word(name="help", usage="", summary="Shows this list.", run=help_, in_thread=True),
)
TABLE: Mapping[str, Word] = {row.name or "deploy": row for row in WORDS}
LATER = frozenset({"approve", "lock", "queue", "reject", "unlock"})
"""Words of later releases: no app of that name is deployed by mistake meanwhile."""
