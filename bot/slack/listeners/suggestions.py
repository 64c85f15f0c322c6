"""Misspelled words, apps and servers: a suggestion with a button that runs the corrected line.

Only a line that was declined gets here, so nothing that works is ever corrected.
"""

import asyncio
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from bot.deployments.app_names import lists_apps
from bot.deployments.locks.service import EVERY_APP
from bot.deployments.refs import near_refs
from bot.errors import BotError, Declined, NoSuchRef
from bot.names import typed
from bot.slack.listeners.desk import Call, Desk, as_answer
from bot.slack.listeners.payloads import Ask, Line
from bot.slack.render import blocks as kit
from bot.slack.render.blocks import Answer
from bot.slack.render.text import cut

RUN = tuple(f"run_command_{place}" for place in range(3))
"""Action ids: they must differ within one row of buttons."""
LIKE_A_WORD, LIKE_A_NAME = 0.7, 0.6
"""difflib's measure: `staus` is like `status`, `hello` is not like `help`."""
LONGEST_LABEL = 70
LONGEST_LINE = 500
"""A longer one, such as a lock with a long reason, is not offered: Slack takes 2000 characters as a
button's value and 3000 as a text, which names up to three of them."""
log = structlog.get_logger(__name__)

_OF_ALL = frozenset({"lock", "unlock"})
_BEFORE_SERVER = frozenset({"to", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a line may name."""

    words: Mapping[str, bool]
    """Command -> whether an app follows it."""
    apps: Collection[str]
    servers: Collection[str]
    refs: Collection[str] | None = None
    """Branches and tags of the app that the line names; None: its ref was not the mistake."""


def corrections(line: Line, known: Known) -> Sequence[str]:
    """Corrected lines, the likeliest first; none if nothing in it is nearly right. Pure."""
    head, servers = line.word, [""]
    rest, before, server = _without_server(line)
    if server is not None:
        servers = [f"{before} {one}" for one in _like(server, known.servers) or [server]]
    firsts = list(rest[:1])
    if others := _other_order(line, known) or _other_refs(line, known):
        return others
    if head in _OF_ALL and firsts and firsts[0].casefold() == EVERY_APP:
        pass  # `lock all` is not a misspelling of an app named `mall`
    elif firsts and (head is None or known.words.get(head)) and "://" not in firsts[0]:
        app, at, ref = firsts[0].partition("@")
        apps = [f"{one}{at}{ref}" for one in _like(app, known.apps)]
        unknown = head is None and app.lower() not in known.apps
        words = _like(app, known.words, LIKE_A_WORD) if unknown and not at else []
        firsts = [*words, *apps] or firsts
    found = [
        " ".join(part for part in (head, first, *rest[1:], server) if part)
        for first in firsts or [""]
        for server in servers
    ]
    given = " ".join(part for part in (head, *line.rest) if part)
    return [one for one in dict.fromkeys(found) if one != given][: len(RUN)]


def _without_server(line: Line) -> tuple[Sequence[str], str, str | None]:
    """The words before a trailing `to SERVER`, and its two words."""
    if len(line.rest) > 1 and line.rest[-2].lower() in _BEFORE_SERVER:
        *words, before, server = line.rest
        return words, before, server
    return line.rest, "", None


def _other_order(line: Line, known: Known) -> Sequence[str]:
    """`status myapp` for `myapp status`, which would deploy a branch of that name."""
    words, _, _ = _without_server(line)
    no_ref = known.refs is not None or len(words) > 2  # noqa: PLR2004 - APP REF
    match line:
        case Line(word=None, rest=(app, word, *more)) if no_ref and known.words.get(word.lower()):
            return [" ".join((word.lower(), app, *more))] if app.lower() in known.apps else ()
    return ()


def _other_refs(line: Line, known: Known) -> Sequence[str]:
    """The line with another ref."""
    if (asked := asked_ref(line)) is None or known.refs is None:
        return ()
    head = [line.word] if line.word else []  # an app may be named like a command
    end = line.rest[len(_without_server(line)[0]) :]
    between = "@" if "@" in line.rest[0] else " "
    near = near_refs(asked.ref or "", known.refs)
    return [" ".join((*head, f"{asked.app}{between}{one}", *end)) for one in near]


def asked_ref(line: Line) -> Ask | None:
    """What a line asks to deploy, if it names a ref and is not a link."""
    words, _, server = _without_server(line)
    if line.word not in {None, "deploy"} or not words or "://" in words[0]:
        return None
    app, at, ref = words[0].partition("@")
    refs = [*([ref] if at else []), *words[1:]]
    return Ask(app=app.lower(), ref=refs[0], server=server) if len(refs) == 1 else None


def _like(name: str, known: Collection[str], cutoff: float = LIKE_A_NAME) -> Sequence[str]:
    """The known names that it may mean; in another case, it is one of them."""
    if any(name.casefold() == one.casefold() for one in known):
        return [name]
    return difflib.get_close_matches(name.lower(), sorted(known), n=len(RUN), cutoff=cutoff)


async def suggest(
    call: Call,
    line: Line,
    declined: Declined,
    *,
    words: Mapping[str, bool],
    only_words: bool = False,
) -> None:
    """Say why the line was declined, with the corrected line as a button. Else raise it again.

    `only_words`: it may be plain speech, in which no app and no server is looked for.
    """
    queries = call.desk.queries
    known = Known(words=words, apps=(), servers=())
    if not only_words:
        apps = {policy.app for policy in await queries.known_apps()}
        asked = asked_ref(line) if isinstance(declined, NoSuchRef) else None
        refs = await _refs(call.desk, asked) if asked else None
        known = replace(known, apps=apps, servers=queries.servers.names(), refs=refs)
    found = [one for one in corrections(line, known) if len(one) <= LONGEST_LINE]
    if not found:
        raise declined
    shown = [one if call.about else typed(one) for one in found]
    # Where a button does it, nobody has to look through a list.
    sentence = str(declined).removesuffix(lists_apps())
    if "Did you mean" not in sentence:
        sentence += f" Did you mean {' or '.join(f'`{one}`' for one in shown)}?"
    said = as_answer(sentence)
    buttons = [
        kit.button(
            action_id=action_id,
            label=cut(label, LONGEST_LABEL),
            value=kit.write_value("-", key=call.request_key, rest=corrected),
        )
        for action_id, label, corrected in zip(RUN, shown, found, strict=False)
    ]
    question = Answer(text=said.text, blocks=(*said.blocks, kit.actions(buttons)))
    await call.desk.answers(call.asker).ask(question)


async def _refs(desk: Desk, asked: Ask) -> Collection[str]:
    """Branches and tags of the app; none if they are not known soon."""
    try:
        async with asyncio.timeout(desk.limits.options_s):
            return [name for name, _ in await desk.queries.ref_names(asked.app, asked.server)]
    except (BotError, TimeoutError) as error:
        log.info("refs_not_listed", app=asked.app, error=type(error).__name__)
        return ()
