"""Chooses the commit that a rollback deploys: one that this bot proved live, and not live now."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.deployments.live.compare import LiveState, Match, is_good, may_return_to
from bot.deployments.live.reader import LiveReader
from bot.deployments.model import Deployment
from bot.deployments.ports import Store
from bot.errors import Declined
from bot.names import quoted

SHORTEST_SHA = 7
_HEX = re.compile(r"[0-9a-f]+")
_UNCHANGED = frozenset({Match.AS_LEFT, Match.RESTARTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackTarget:
    """The commit to deploy, and the deployment that is rolled back."""

    sha: str
    deployment: Deployment
    came_from: str | None = None
    """The ref that the commit was deployed from; None: it was only ever given by its digits."""


class RollbackFinder:
    """Checks each choice against what is live and what is under way now."""

    def __init__(self, *, store: Store, reader: LiveReader) -> None:
        self._store = store
        self._reader = reader

    async def for_deployment(self, old: Deployment) -> RollbackTarget:
        """The commit recorded when `old` ended. Declined: none, live already, or under way."""
        if old.rollback_sha is None:
            raise Declined(
                f"No release of {old.app} was proven live before that deployment. "
                f"Use `/deploy {old.app} SHA` to deploy any commit."
            )
        # A slow server must not delay the message, so the history is enough then.
        report = await self._reader.read_within_grace(old.app, old.target)
        refuse_if_live_or_under_way(old.app, old.rollback_sha, report.state)
        return await self._with_ref(RollbackTarget(sha=old.rollback_sha, deployment=old))

    async def for_app(self, app: str, commit: str | None, server: str | None) -> RollbackTarget:
        """The given commit, else the newest earlier one. Declined: as in `for_deployment`."""
        given = None if commit is None else check_commit(app, commit)
        key = await self._reader.find_key(app, server)
        state = (await self._reader.read_within_grace(app, key)).state
        if given is None:
            target = choose_previous(app, state)
        else:
            found = await self._store.started(key, commit=given)
            target = choose_given(app, given, found, state)
        refuse_if_live_or_under_way(app, target.sha, state)
        return await self._with_ref(target)

    async def _with_ref(self, target: RollbackTarget) -> RollbackTarget:
        """Add the ref that the commit was deployed from: people know a release by its name."""
        known = await self._store.started(target.deployment.target, commit=target.sha)
        names = [one.came_from or one.ref for one in known]
        named = (name for name in names if not target.sha.startswith(name.lower()))
        return replace(target, came_from=next(named, None))


def check_commit(app: str, text: str) -> str:
    """A short or full commit as typed, in lower case. Declined: it cannot be one."""
    given = text.lower()
    if not _HEX.fullmatch(given):
        raise Declined(
            f"`{quoted(text)}` is not a commit. `/deploy rollback {app} SHA` takes its digits; "
            f"`/deploy {app} {quoted(text)}` deploys a branch or a tag."
        )
    if len(given) < SHORTEST_SHA:
        raise Declined(
            f"`{quoted(text)}` is too short for a commit. Give at least {SHORTEST_SHA} digits."
        )
    return given


def choose_given(
    app: str, given: str, found: Sequence[Deployment], state: LiveState
) -> RollbackTarget:
    """The commit that someone typed. `found`: deployments of commits that start with it.

    Declined: this bot never proved it live, or several commits start with it.
    """
    proven = [one for one in found if is_good(one) and (one.sha or "").startswith(given)]
    shas = sorted({one.sha for one in proven if one.sha})
    if not shas:
        raise Declined(
            f"The bot never proved `{quoted(given)}` live for {app}. "
            f"`/deploy {app} {quoted(given)}` deploys it like any other commit."
        )
    if len(shas) > 1:
        names = " or ".join(f"`{sha}`" for sha in shas[:5])
        raise Declined(f"`{quoted(given)}` is ambiguous: it could be {names}. Give more digits.")
    return RollbackTarget(sha=shas[0], deployment=state.unproven or state.base or proven[0])


def choose_previous(app: str, state: LiveState) -> RollbackTarget:
    """The newest commit that was proven live before the current release. Declined: none."""
    base = state.base
    if state.match is Match.REPLACED and base is not None and may_return_to(base) and base.sha:
        return RollbackTarget(sha=base.sha, deployment=base)  # another release replaced it
    changed = state.unproven or base
    if changed is None or changed.rollback_sha is None:
        raise Declined(
            f"No earlier release of {app} was proven live. `/deploy {app} SHA` deploys any commit."
        )
    return RollbackTarget(sha=changed.rollback_sha, deployment=changed)


def refuse_if_live_or_under_way(app: str, sha: str, state: LiveState) -> None:
    """Declined: the commit is live already, or a deployment of it is queued or running."""
    short = sha[:7]
    for one in (state.running, *state.waiting):
        if one is not None and one.sha == sha:
            raise Declined(
                f"`{short}` is already being deployed, by {one.id}. Look at its message."
            )
    if state.match in _UNCHANGED and state.commit == sha:
        raise Declined(f"`{short}` is already live. `/deploy {app} {short}` deploys it again.")
    base = state.base
    unread = state.match is Match.UNREADABLE and state.unproven is None
    if unread and base is not None and is_good(base) and base.sha == sha:
        raise Declined(
            f"`{short}` is already live as far as the bot knows. The server did not answer in "
            f"time; `/deploy {app} {short}` deploys it again."
        )
