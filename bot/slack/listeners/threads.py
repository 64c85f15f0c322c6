"""Chat: replies in a deployment's thread, mentions of the bot, and its direct messages."""

import difflib
from dataclasses import replace

from bot.deployments.model import Deployment, Trigger
from bot.errors import Declined
from bot.names import quoted
from bot.slack.listeners.commands import ACTS, TABLE, WORDS, help_, run, run_line
from bot.slack.listeners.desk import Call, Desk
from bot.slack.listeners.payloads import (
    Asker,
    Body,
    Line,
    asker_of,
    delivery_key,
    part,
    read_ask,
    read_line,
    without_mention,
    word,
)
from bot.slack.listeners.suggestions import suggest

SPOKEN_SUBTYPES = frozenset({"", "file_share", "thread_broadcast"})
"""Kinds of `message` events that a person wrote; the others report edits, joins, ..."""
JOINED = frozenset({"channel_join", "group_join"})
UNARCHIVED = frozenset({"channel_unarchive", "group_unarchive"})
"""After these a channel that refused the bot's edits takes them again."""
BACK = JOINED | UNARCHIVED
THREAD_COMMANDS = frozenset(row.name for row in TABLE.values() if row.in_thread)
ALIKE = 0.6
"""difflib's measure: `myap` matches `myapp`, `thank` does not."""
LONGEST_COMMAND = 4
"""Words: `APP REF to SERVER`, or a command with its arguments. More is plain speech."""


async def on_chat(desk: Desk, body: Body) -> None:
    """One `message` or `app_mention` event. Answered only if it is meant for the bot."""
    event = part(body, "event")
    own = word(event, "user") == desk.bot_user
    back = word(event, "subtype") in (JOINED if own else UNARCHIVED)
    if back or not (own or "bot_id" in event):
        desk.in_channel(word(event, "channel"), back)
    if word(event, "subtype") not in SPOKEN_SUBTYPES or "bot_id" in event:
        return
    asker = asker_of(body)
    if not asker.actor.user or asker.actor.user == desk.bot_user:
        return
    mentioned, text = without_mention(word(event, "text"), desk.bot_user)
    call = Call(
        desk=desk,
        asker=asker,
        answers=desk.answers(asker, aloud=True),
        trigger=Trigger.MENTION,
        request_key=delivery_key(body),
    )
    about = await _deployment_of_thread(desk, asker, text, mentioned=mentioned)
    if about is not None:
        await _in_thread(replace(call, about=about), text, mentioned=mentioned)
    elif asker.direct:
        await run_line(await _admitted(call), text)
    elif mentioned:
        call = await _admitted(call)
        # The answer goes below the question, in its thread or in a new one.
        below = replace(asker, thread_ts=asker.thread_ts or word(event, "ts"))
        await _mention(replace(call, answers=desk.answers(below, aloud=True)), text)


async def _admitted(call: Call) -> Call:
    return replace(call, asker=await call.desk.admit(call.asker))


async def _deployment_of_thread(
    desk: Desk, asker: Asker, text: str, *, mentioned: bool
) -> Deployment | None:
    """The deployment in whose thread it was said; looked up only if an answer is possible."""
    if asker.thread_ts is None:
        return None
    if not (mentioned or asker.direct or _single_word(text)):
        return None
    return await desk.queries.store.by_message(asker.channel, asker.thread_ts)


async def _in_thread(call: Call, text: str, *, mentioned: bool) -> None:
    single = _single_word(text)
    if single is None and not mentioned and not call.asker.direct:
        return
    call = await _admitted(call)
    line = _read(text)
    if single is not None:
        await TABLE[single].run(call)
    elif line.word is not None:
        await run_line(call, text)
    else:
        await _suggest_or_help(call, line)


async def _suggest_or_help(call: Call, line: Line) -> None:
    """A misspelled command gets its correction; plain speech, a question among it, gets help."""
    if not 0 < len(line.rest) <= LONGEST_COMMAND or not line.rest[0].isalpha():
        await help_(call)
        return
    unknown = Declined(f"I don't know the command `{quoted(line.rest[0])}`.")
    try:
        await suggest(call, line, unknown, words=WORDS, only_words=True)
    except Declined:
        await help_(call)


async def _mention(call: Call, text: str) -> None:
    """A command, or an app and a ref; anything else gets help."""
    line = _read(text)
    if line.word is not None:
        await run_line(call, text)
        return
    if await _is_plain_ask(call, line):
        await run(call, line)
    else:
        await _suggest_or_help(call, line)


async def _is_plain_ask(call: Call, line: Line) -> bool:
    """Whether it is `APP [REF] [to SERVER]`, with a known app or nearly; else plain speech."""
    try:
        ask = read_ask(line.rest)
    except Declined:
        return False
    names = {policy.app for policy in await call.desk.queries.known_apps()}
    return not names or bool(difflib.get_close_matches(ask.app, names, n=1, cutoff=ALIKE))


def _read(text: str) -> Line:
    """A line of chat. A word that acts counts only as it is: `*cancel*` may be said in passing."""
    line = read_line(text, TABLE.keys(), exact=ACTS)
    said = text.split(maxsplit=1)[:1]
    if line.word in ACTS and said[0].lower() != line.word:
        return Line(None, (*said, *line.rest))
    return line


def _single_word(text: str) -> str | None:
    """The thread command that is the whole text, in any case.

    Questions may have a mark around them (`status?`, `*help*`); a word that acts may not.
    """
    bare = text.strip().lower()
    if bare in THREAD_COMMANDS:
        return bare
    single = bare.strip(" \t\n.!?*`_")
    return single if single in THREAD_COMMANDS - ACTS else None
