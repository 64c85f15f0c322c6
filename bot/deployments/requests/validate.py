"""What people may ask for: validation with one sentence per mistake. Pure."""

import difflib
import re
from collections.abc import Iterable

from bot.deployments.model import Actor, AppPolicy
from bot.errors import Declined

LONGEST = 255
SHOWN = 60
_APP = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""Dokku: lower-case alphanumeric first, no upper case, colon, underscore or slash. White space
and quotes would be split by its command line, so only plain characters pass."""
_REF_FORBIDDEN = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\\"'`$;|&<>(){}!]|\.\.|@\{|//|/\.|\.lock(?:/|$)"
)


def check_app(name: str) -> str:
    """The app's name as Dokku takes it. Declined: with the rule it breaks."""
    if not name:
        raise Declined("Name an app: `/deploy APP [REF]`. `/deploy apps` lists them.")
    if len(name) > LONGEST or not _APP.fullmatch(name):
        raise Declined(
            f"`{quoted(name)}` is no app name: Dokku's begin with a lower-case letter or digit "
            "and have only lower-case letters, digits, dots and dashes."
        )
    return name


def check_ref(ref: str) -> str:
    """A branch, tag or commit as git accepts it. Declined: nothing else is passed on."""
    bad = (
        not ref
        or len(ref) > LONGEST
        or ref.startswith(("-", "/", "."))
        or ref.endswith(("/", "."))
        or ref == "@"
        or not ref.isprintable()
        or _REF_FORBIDDEN.search(ref) is not None
    )
    if bad:
        raise Declined(f"`{quoted(ref)}` is no branch, tag or commit that git accepts.")
    return ref


def quoted(text: str) -> str:
    """Foreign text, short and harmless inside a sentence."""
    plain = "".join(char if char.isprintable() and char not in "`<>&" else "?" for char in text)
    plain = plain.replace("@", "@\u200b")
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 1] + "…"


def closest(name: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, or how to list the apps."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(f"`{one}`" for one in near) + "?"
    return " `/deploy apps` lists the apps."


def may_deploy(policy: AppPolicy, actor: Actor, groups_of_actor: frozenset[str]) -> bool:
    """Whether the actor is a deployer of the app; no deployers set: everybody is."""
    return not policy.deployers or bool(policy.deployers & ({actor.user} | groups_of_actor))
