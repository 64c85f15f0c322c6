"""Misspelled words, apps and servers: a suggestion with a button that runs the corrected line.

Only a line that was declined gets here, so nothing that works is ever corrected.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bot.deployments.locks.service import EVERY_APP
from bot.errors import Declined
from bot.names import typed
from bot.slack.listeners.desk import Call, as_answer
from bot.slack.listeners.payloads import Line
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
_OF_ALL = frozenset({"lock", "unlock"})
_BEFORE_SERVER = frozenset({"to", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a line may name."""

    words: Mapping[str, bool]
    """Command -> whether an app follows it."""
    apps: Collection[str]
    servers: Collection[str]


def corrections(line: Line, known: Known) -> Sequence[str]:
    """Corrected lines, the likeliest first; none if nothing in it is nearly right. Pure."""
    head, rest, servers = line.word, list(line.rest), [""]
    if len(rest) > 1 and rest[-2].lower() in _BEFORE_SERVER:
        *rest, before, server = rest
        servers = [f"{before} {one}" for one in _like(server, known.servers) or [server]]
    firsts = list(rest[:1])
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
    known = Known(
        words=words,
        apps=set() if only_words else {policy.app for policy in await queries.known_apps()},
        servers=() if only_words else queries.servers.names(),
    )
    found = [one for one in corrections(line, known) if len(one) <= LONGEST_LINE]
    if not found:
        raise declined
    shown = [one if call.about else typed(one) for one in found]
    sentence = str(declined)
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
