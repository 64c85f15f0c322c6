"""Chooses the commit that a rollback deploys, which is never the one that is live.

It is one that this bot proved live. Where it has proven nothing older, it is the one that Dokku's
own record named when the deployment started, which people have to confirm as not verified.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.deployments.live.compare import LiveState, Match, is_good, may_return_to
from bot.deployments.live.reader import LiveReader
from bot.deployments.model import Deployment, Live, Phase
from bot.deployments.ports import Store
from bot.errors import Declined
from bot.names import quoted, slash

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
    verified: bool = True
    """This bot proved it live. False: only Dokku's own record named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPlan:
    """A rollback before it starts: from where to where."""

    target: RollbackTarget
    live: Deployment | None
    """The deployment whose commit is live, by the containers or at least by the history."""
    live_sha: str | None
    """The live commit; without `live`, according to Dokku's own record. None: not known."""
    source: Deployment | None
    """The newest deployment that proved the target's commit live."""


class NotVerified(Declined):
    """Nothing older is proven. The commit that Dokku's own record named has to be confirmed."""

    def __init__(self, plan: RollbackPlan) -> None:
        app, short = plan.target.deployment.app, plan.target.sha[:7]
        super().__init__(
            f"No earlier release of {app} was proven live. Dokku's own record names `{short}`, "
            f"which is not verified by deploybot: {slash(f'{app} {short}')} builds and deploys it."
        )
        self.plan = plan


class RollbackFinder:
    """Checks each choice against what is live and what is under way now."""

    def __init__(self, *, store: Store, reader: LiveReader) -> None:
        self._store = store
        self._reader = reader

    async def for_deployment(self, old: Deployment, sha: str | None = None) -> RollbackPlan:
        """Roll back `old`: to the commit recorded when it ended, or to `sha`, fixed before.

        Declined: there is none, it is live already or under way, or it was never offered.
        """
        target = choose_recorded(old, sha)
        if target is None and sha is not None:
            found = await self._store.started(old.target, commit=sha)
            if any(may_return_to(one) for one in found):
                target = RollbackTarget(sha=sha, deployment=old)
        if target is None:
            raise Declined(
                f"No release of {old.app} was proven live before that deployment. "
                f"Use {slash(f'{old.app} SHA')} to deploy any commit."
            )
        # A slow server must not delay the message, so the history is enough then.
        report = await self._reader.read_within_grace(old.app, old.target)
        return await self._plan(target, report.state)

    async def for_app(self, app: str, commit: str | None, server: str | None) -> RollbackPlan:
        """The given commit, else the newest earlier one. Declined: as in `for_deployment`."""
        given = None if commit is None else check_commit(app, commit)
        key = await self._reader.find_key(app, server)
        state = (await self._reader.read_within_grace(app, key)).state
        if given is None:
            target = choose_previous(app, state)
        else:
            found = await self._store.started(key, commit=given)
            target = choose_given(app, given, found, state)
        return await self._plan(target, state)

    async def _plan(self, target: RollbackTarget, state: LiveState) -> RollbackPlan:
        old = target.deployment
        refuse_if_live_or_under_way(old.app, target.sha, state)
        if not target.verified:
            refuse_if_still_serving(target, state)
        found = await self._store.started(old.target, commit=target.sha)
        # People know a release by the ref that its commit was deployed from.
        names = [one.came_from or one.ref for one in found]
        named = (name for name in names if not target.sha.startswith(name.lower()))
        base = state.base
        by_history = state.match is Match.UNREADABLE and base is not None and is_good(base)
        live = base if state.commit or by_history else None
        return RollbackPlan(
            target=replace(target, came_from=next(named, None)),
            live=live,
            live_sha=live.sha if live else state.according_to_dokku,
            source=next((one for one in found if may_return_to(one)), None),
        )


def choose_recorded(old: Deployment, sha: str | None = None) -> RollbackTarget | None:
    """The commit recorded with `old`, proven before not verified. With `sha`, only that one."""
    for recorded, verified in ((old.rollback_sha, True), (old.unverified_sha, False)):
        if recorded is not None and sha in {None, recorded}:
            return RollbackTarget(sha=recorded, deployment=old, verified=verified)
    return None


def check_commit(app: str, text: str) -> str:
    """A short or full commit as typed, in lower case. Declined: it cannot be one."""
    given = text.lower()
    if not _HEX.fullmatch(given):
        raise Declined(
            f"`{quoted(text)}` is not a commit. {slash(f'rollback {app} SHA')} takes its digits; "
            f"{slash(f'{app} {quoted(text)}')} deploys a branch or a tag."
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
            f"{slash(f'{app} {quoted(given)}')} deploys it like any other commit."
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
    target = None if changed is None else choose_recorded(changed)
    if target is None:
        raise Declined(
            f"No earlier release of {app} was proven live. {slash(f'{app} SHA')} deploys any "
            "commit."
        )
    return target


def refuse_if_live_or_under_way(app: str, sha: str, state: LiveState) -> None:
    """Declined: the commit is live already, or a deployment of it is queued or running."""
    short = sha[:7]
    for one in (state.running, *state.waiting):
        # What nobody has approved may never start, and a rollback is urgent.
        if one is not None and one.sha == sha and one.phase is not Phase.AWAITING_APPROVAL:
            raise Declined(
                f"`{short}` is already being deployed, by {one.id}. Look at its message."
            )
    if state.match in _UNCHANGED and state.commit == sha:
        raise Declined(f"`{short}` is already live. {slash(f'{app} {short}')} deploys it again.")
    base = state.base
    unread = state.match is Match.UNREADABLE and state.unproven is None
    if unread and base is not None and is_good(base) and base.sha == sha:
        raise Declined(
            f"`{short}` is already live as far as the bot knows. The server did not answer in "
            f"time; {slash(f'{app} {short}')} deploys it again."
        )


def refuse_if_still_serving(target: RollbackTarget, state: LiveState) -> None:
    """Declined: the commit that only Dokku's record names may be the one that serves now."""
    old, short = target.deployment, target.sha[:7]
    again = f"{slash(f'{old.app} {short}')} deploys it again."
    if old.live is Live.PREVIOUS:
        raise Declined(f"`{short}` still serves: that deployment changed nothing. {again}")
    serves = state.containers is not None and any(one.is_up for one in state.containers.listed)
    if serves and state.commit is None and state.according_to_dokku == target.sha:
        raise Declined(f"`{short}` is live already, according to Dokku's own record. {again}")


def refuse_unverified(plan: RollbackPlan) -> None:
    """NotVerified: someone has to confirm it first."""
    if not plan.target.verified:
        raise NotVerified(plan)
