"""Locks and the queue in chat: commands, their buttons, and the refusal of what a lock stops."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.deployments.lock import ALL, Lock, Locked
from bot.deployments.locks.rules import is_same_person, read_lasts
from bot.deployments.locks.service import EVERY_APP, LockAsk
from bot.deployments.model import Actor, AppKey, Trigger
from bot.deployments.states import RUNNING
from bot.errors import Declined, SlackError
from bot.names import quoted, slash
from bot.slack.listeners import answers as say
from bot.slack.listeners.desk import Call, Desk, as_answer
from bot.slack.listeners.payloads import (
    Body,
    asker_of,
    delivery_key,
    first_action,
    read_about,
    read_app,
    refuse_marks,
    word,
)
from bot.slack.render import locks as show
from bot.slack.render.blocks import Answer, section
from bot.slack.render.text import plain_times

USAGE = "lock APP|all [for 2h] [reason]"
_SERVER_WORDS = frozenset({"on", "to"})
_UNTIL = frozenset({"until", "till"})
_DAYS = ("mon", "tues", "wednes", "thurs", "fri", "satur", "sun")
_TIMES = frozenset({"noon", "midnight", "tonight", "tomorrow", *(f"{day}day" for day in _DAYS)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LockLine:
    """`APP|all [on SERVER] [for 2h] [reason…]`, read."""

    app: str
    server: str | None = None
    lasts: timedelta | None = None
    reason: str = ""


def read_lock(words: Sequence[str], servers: Sequence[str]) -> LockLine:
    """Read what follows `lock`. Declined: no app, or a duration that is none.

    What does not name a known server or a duration is the reason: `on holiday`, `for the audit`.
    `2h audit`, `for two hours` and `until 18:00` mean an end: as a reason, they would have none.
    """
    if not words:
        raise Declined(f"Which app? Use {slash(USAGE)}.")
    refuse_marks(words[:1])
    app, left = read_app(words[0]), list(words[1:])
    server: str | None = None
    lasts: timedelta | None = None
    known = {name.casefold(): name for name in servers}
    while left:
        first, second = left[0].lower(), left[1] if len(left) > 1 else ""
        if first in _SERVER_WORDS and server is None and second.casefold() in known:
            server, left = known[second.casefold()], left[2:]
        elif first == "for" and lasts is None and _means_duration(left[1:]):
            lasts, left = _read_duration(left[1:])
        elif lasts is None and any(_duration(left[:count]) for count in (1, 2)):
            lasts, left = _read_duration(left)
        elif first in _UNTIL and lasts is None and _is_time(second):
            raise Declined(
                f"I do not know your time zone, so `{quoted(' '.join(left[:2]))}` locked nothing. "
                "Write for how long, e.g. `for 2h`."
            )
        else:
            break
    return LockLine(app=app, server=server, lasts=lasts, reason=" ".join(left))


def _means_duration(words: Sequence[str]) -> bool:
    """Whether a number follows `for`, or anything with a unit: `2`, `two hours`, `the day`."""
    return bool(words) and (words[0][0].isdigit() or _has_unit(words))


def _is_time(text: str) -> bool:
    return text[:1].isdigit() or text.casefold().rstrip(",;:.") in _TIMES


def _has_unit(words: Sequence[str]) -> bool:
    return _duration(("1", *words[1:2])) is not None


def _duration(words: Sequence[str]) -> timedelta | None:
    return read_lasts(" ".join(words).rstrip(",;:."))


def _read_duration(words: Sequence[str]) -> tuple[timedelta, list[str]]:
    """`2h`, or `2 hours`; and the words after it."""
    for count in (2, 1):
        lasts = _duration(words[:count])
        if lasts is not None and count <= len(words):
            return lasts, list(words[count:])
    shown = quoted(" ".join(words[: 2 if _has_unit(words) else 1]))
    raise Declined(
        f"`{shown}` is not a duration, so nothing was locked. Write e.g. 30m, 2h or 1d, "
        "at most 366 days."
    )


async def lock(call: Call) -> None:
    """Set a lock, or change one's own; said where all can read it."""
    line = read_lock(call.rest, call.desk.queries.servers.names())
    ask = LockAsk(
        app=line.app,
        server=line.server,
        lasts=line.lasts,
        reason=line.reason,
        actor=call.asker.actor,
        through=call.trigger,
        channel=call.asker.channel,
    )
    change = await call.desk.service.locks.lock(ask)
    words = show.set_words(
        change.lock,
        change.former,
        name_server=call.desk.names_server,
        runs=await _runs(call.desk, change.lock.key),
    )
    if change.unchecked:
        words += " The server did not answer, so check the app's name."
    await announce(call, words)


async def unlock(call: Call) -> None:
    """End a lock: one's own at once, someone else's after a question."""
    about = read_about(call.rest)
    if about.subject is None:
        raise Declined(f"Which app? Use {slash('unlock APP')}, or {slash('unlock all')}.")
    locks = call.desk.service.locks
    found = await locks.find(about.subject, about.server)
    if found.key == ALL and about.subject != EVERY_APP:
        more = "Unlocking it unlocks every app."
        await call.answers.say(await _offer(call, found, ALL, more))
    elif is_same_person(found.holder, call.asker.actor):
        await _release(call, found)
    else:
        await locks.check_may_end(found, call.asker.actor)
        more = "Confirm to end it; the holder is notified."
        await call.answers.say(await _offer(call, found, found.key, more))


async def queue(call: Call) -> None:
    """What runs and waits on every server, and what is locked."""
    queries = call.desk.queries
    server = read_about(call.rest).server
    unfinished = [queries.snapshot(one) for one in await queries.store.unfinished()]
    await call.answers.say(
        say.queue_answer(
            unfinished,
            await call.desk.service.locks.held(),
            servers=[one for one in queries.servers.names() if server in {None, one}],
            now=call.desk.clock.now(),
            name_server=call.desk.names_server,
        )
    )


async def refusal(desk: Desk, body: Body, error: Locked) -> Answer:
    """What someone else's lock stopped, with the buttons that the person may use."""
    actor = asker_of(body).actor
    return await _locked(desk, actor, error.lock, error.app, error.key, error.effect)


async def _locked(desk: Desk, actor: Actor, held: Lock, app: str, key: AppKey, more: str) -> Answer:
    try:
        await desk.service.locks.check_may_end(held, actor)
    except Declined as not_allowed:
        may_end, more = False, f"{more} {not_allowed}".strip()
    else:
        may_end = True
    return show.locked_answer(
        held, app, key, may_end=may_end, name_server=desk.names_server, more=more
    )


async def _offer(call: Call, held: Lock, key: AppKey, more: str) -> Answer:
    return await _locked(call.desk, call.asker.actor, held, held.app, key, more)


# --- buttons


async def on_release(desk: Desk, body: Body) -> None:
    """`Unlock`, confirmed in Slack's own dialog."""
    call = await _click(desk, body)
    await _release(call, await desk.service.locks.by_id(_value(body)))


async def on_take_over(desk: Desk, body: Body) -> None:
    """`Take over`, confirmed in Slack's own dialog."""
    call, locks = await _click(desk, body), desk.service.locks
    former = await locks.by_id(_value(body))
    change = await locks.take_over(former, actor=call.asker.actor, through=call.trigger)
    words = show.taken_over_words(change.lock, former, name_server=desk.names_server)
    await announce(_near(call, former), words)


async def on_follow(desk: Desk, body: Body) -> None:
    """`Tell me when it is free` on a refusal."""
    call = await _click(desk, body)
    found = show.read_follow(_value(body))
    if found is not None:
        await follow(call, *found)


async def follow(call: Call, key: AppKey, app: str) -> None:
    """Remember the person, and say so."""
    await call.desk.service.locks.follow(key, app, call.asker.actor)
    await call.answers.say(
        as_answer(
            f"You get one direct message when {app} is free: nothing runs or waits, and no lock "
            "stops you."
        )
    )


LOCK_BUTTONS: Mapping[str, Callable[[Desk, Body], Awaitable[None]]] = {
    show.RELEASE: on_release,
    show.TAKE_OVER: on_take_over,
    show.FOLLOW: on_follow,
}


async def _click(desk: Desk, body: Body) -> Call:
    asker = await desk.admit(asker_of(body))
    return Call(
        desk=desk,
        asker=asker,
        answers=desk.answers(asker),
        trigger=Trigger.BUTTON,
        request_key=delivery_key(body),
    )


def _value(body: Body) -> str:
    return word(first_action(body), "value")


async def _release(call: Call, found: Lock) -> None:
    actor = call.asker.actor
    await call.desk.service.locks.unlock(found, actor=actor, through=call.trigger)
    words = show.released_words(found, actor, name_server=call.desk.names_server)
    await announce(_near(call, found), words)


def _near(call: Call, held: Lock) -> Call:
    """From a Home tab, which is in no channel: say it where the lock was set, else to the person.

    Not in someone's direct message: the holder is notified in any case.
    """
    if call.asker.channel:
        return call
    where = held.channel if held.channel and not held.channel.startswith("D") else call.asker.dm
    asker = replace(call.asker, channel=where)
    return replace(call, asker=asker, answers=call.desk.answers(asker))


async def announce(call: Call, words: str) -> None:
    """Say it where all can read it; where the bot cannot post, to the person, with the reason."""
    answer = Answer(text=plain_times(words), blocks=(section(words),))
    try:
        await call.answers.post(answer)
    except SlackError as error:
        only_you = f"{words} Only you see this: {error}"
        await call.answers.whisper_answer(
            Answer(text=plain_times(only_you), blocks=(section(only_you),))
        )


async def _runs(desk: Desk, key: AppKey) -> bool:
    unfinished = await desk.queries.store.unfinished()
    return any(one.phase in RUNNING and key in {ALL, one.target} for one in unfinished)
