"""Which commit a roll back goes to: only one that this bot proved live, never the one that is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.deployments.live.compare import Match, Standing, is_good
from bot.deployments.model import Deployment
from bot.errors import Declined
from bot.names import quoted

SHORTEST_SHA = 7
_HEX = re.compile(r"[0-9a-f]+")
_KNOWN = frozenset({Match.AS_LEFT, Match.RESTARTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to go, and from which deployment."""

    sha: str
    of: Deployment


def check_commit(app: str, text: str) -> str:
    """A commit as typed, short or full, in small letters. Declined: it cannot be one."""
    given = text.lower()
    if not _HEX.fullmatch(given):
        raise Declined(
            f"`{quoted(text)}` is no commit. `/deploy rollback {app} SHA` takes the digits of one; "
            f"`/deploy {app} {quoted(text)}` deploys a branch or a tag."
        )
    if len(given) < SHORTEST_SHA:
        raise Declined(
            f"`{quoted(text)}` is too short for a commit: "
            f"at least {SHORTEST_SHA} digits are needed."
        )
    return given


def by_hand(app: str, given: str, found: Sequence[Deployment], standing: Standing) -> Target:
    """The commit that somebody named; `found`: what was started of commits that begin so.

    Declined: this bot never proved it live, or several begin so.
    """
    proven = [one for one in found if is_good(one) and (one.sha or "").startswith(given)]
    shas = sorted({one.sha for one in proven if one.sha})
    if not shas:
        raise Declined(
            f"`{quoted(given)}` is no commit of {app} that this bot has proven live. "
            f"`/deploy {app} {quoted(given)}` deploys it like any other."
        )
    if len(shas) > 1:
        names = " or ".join(f"`{sha}`" for sha in shas[:5])
        raise Declined(f"`{quoted(given)}` may be {names}. Give more digits.")
    return Target(sha=shas[0], of=standing.unproven or standing.base or proven[0])


def go_back(app: str, standing: Standing) -> Target:
    """The newest commit that was proven live before what is there now. Declined: there is none."""
    base = standing.base
    if standing.match is Match.REPLACED and base is not None and is_good(base) and base.sha:
        return Target(sha=base.sha, of=base)  # somebody else's release came after it
    changed = standing.unproven or base
    if changed is None or changed.rollback_sha is None:
        raise Declined(
            f"No earlier release of {app} proven live is known. "
            f"`/deploy {app} SHA` deploys any commit."
        )
    return Target(sha=changed.rollback_sha, of=changed)


def refuse_pointless(app: str, sha: str, standing: Standing) -> None:
    """Declined: it is live already, or on its way."""
    short = sha[:7]
    for one in (standing.running, *standing.waiting):
        if one is not None and one.sha == sha:
            raise Declined(
                f"`{short}` is already being deployed, by {one.id}. Look at its message."
            )
    if standing.match in _KNOWN and standing.commit == sha:
        raise Declined(f"`{short}` is already live. `/deploy {app} {short}` deploys it again.")
    base = standing.base
    blind = standing.match is Match.UNREADABLE and standing.unproven is None
    if blind and base is not None and is_good(base) and base.sha == sha:
        raise Declined(
            f"`{short}` is already live as far as this bot knows; the server did not tell in time. "
            f"`/deploy {app} {short}` deploys it again."
        )
