"""The ONE message of each deployment: it converges to the state, whatever happens in between.

A message is rendered when the edit gate gives it its turn, from the newest state known then.
What it shows is remembered as a hash only; after a restart nothing is known to be shown, and
each unfinished message is edited once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import structlog

from bot.clock import Clock
from bot.deployments.model import Deployment, MessagePlace
from bot.deployments.ports import Announcer, Urgency
from bot.deployments.state.repository import DeploymentCache
from bot.deployments.states import ENDINGS, RUNNING
from bot.errors import BotError, MessageGone, SlackError
from bot.slack.budget import EditGate, Go, Wait
from bot.slack.client import Blocks
from bot.slack.live_message.posting import Messages, Posting, without_ping
from bot.slack.live_message.shown import RETRY_MOST, Shown, backoff, urgency_of
from bot.slack.refusals import PASSING, RateLimited
from bot.slack.render.buttons import Button
from bot.slack.render.deployment import Rendered, render

log = structlog.get_logger(__name__)

READING_END_HOLD = timedelta(seconds=1)
"""Questions at the end mostly take less: then the end itself is the next edit, not 2 s after
a message that says that the end is being read."""
TRIES_AFTER_THE_END = 30
"""About half an hour of failing edits; then an ended message is left as it is."""
HOUSING_TRIES = 30
TOO_LARGE = frozenset({"msg_too_long", "msg_blocks_too_long", "invalid_blocks"})


class EditableMessages(Messages, Protocol):
    """What of the Slack client is needed here."""

    async def update(self, channel: str, ts: str, *, text: str, blocks: Blocks) -> None:
        """See `SlackClient.update`."""
        ...


class Places(Protocol):
    """What of the store is needed here."""

    async def get(self, deployment_id: str) -> Deployment | None:
        """By full id."""
        ...

    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        """Remember where the live message stands."""
        ...


def _everything(_deployment_id: str) -> bool:
    return True


def _no_link(_repo: str, _sha: str) -> str | None:
    return None


class LiveMessages(Announcer):
    """Posts and edits the live messages. `start` it; `flush`, then `stop` it."""

    def __init__(
        self,
        *,
        client: EditableMessages,
        cache: DeploymentCache,
        store: Places,
        gate: EditGate,
        clock: Clock,
        buttons: Sequence[Button],
        commit_url: Callable[[str, str], str | None] = _no_link,
        edit_lag: Callable[[timedelta], None] | None = None,
    ) -> None:
        self._client = client
        self._posting = Posting(client=client)
        self._cache = cache
        self._store = store
        self._gate = gate
        self._clock = clock
        self._buttons = buttons
        self._commit_url = commit_url
        self._edit_lag = edit_lag
        self.shows_running: Callable[[str], bool] = _everything
        """Set by the composition root: whether a running deployment is this replica's to show.
        Others know nothing of its log, and would overwrite what its owner shows."""
        self._shown: dict[str, Shown] = {}
        self._posted_anew: set[str] = set()
        """Deleted once already; kept longer than `_shown`, for something may come after an end."""
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._turns: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to edit. Posts work without it."""
        self._pump = asyncio.create_task(self._run(), name="live messages")

    async def stop(self) -> None:
        """Stop at once; edits in flight are cut off."""
        tasks = [*self._turns, *([self._pump] if self._pump else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pump = None

    async def flush(self, limit: timedelta) -> bool:
        """Wait until ends and phases are shown; False: the time was over before."""
        try:
            async with asyncio.timeout(limit.total_seconds()):
                while self._gate.waiting(Urgency.PHASE):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        return True

    async def post(self, deployment: Deployment) -> MessagePlace:
        """Post the live message; the caller stores its place.

        SlackError, with a sentence for the asker: it cannot be.
        """
        rendered, lines = self._render(without_ping(deployment))
        place = await self._posting.post(deployment, rendered)
        shown = self._shown[deployment.id] = Shown(place=place)
        shown.note(deployment, rendered, lines=lines)
        self._want(deployment.id, Urgency.PHASE)  # the state may have moved on meanwhile
        return place

    async def find_or_post(self, deployment: Deployment) -> MessagePlace:
        """The message of a deployment whose place is not known: found, or posted now.

        The caller stores its place. SlackError as for `post`.
        """
        place = await self._posting.find(deployment)
        if place is None:
            return await self.post(deployment)
        self._shown[deployment.id] = Shown(place=place)
        self._want(deployment.id, Urgency.PHASE)
        return place

    def changed(self, deployment_id: str, urgency: Urgency) -> None:
        """Let the message converge. Returns at once; it may be called as often as one likes."""
        tracked = self._cache.get(deployment_id)
        shown = self._shown.get(deployment_id)
        hold = timedelta(0)
        if tracked is not None:
            if shown is None and tracked.deployment.message is None:
                return  # it is being posted, and compared afterwards; or it has no message at all
            urgency = urgency_of(shown, tracked.deployment, tracked.progress, urgency)
            if tracked.progress.reading_end and tracked.deployment.phase not in ENDINGS:
                urgency, hold = Urgency.PHASE, READING_END_HOLD
        if shown is not None and shown.changed_at is None and urgency is not Urgency.ROUTINE:
            shown.changed_at = self._clock.monotonic()
        self._want(deployment_id, urgency, hold)

    async def resume(self, deployments: Iterable[Deployment]) -> None:
        """After a start: converge the messages of unfinished deployments that are ours to show.

        Returns at once. Those without a known message are searched for, or posted, one after
        the other, and again later where Slack did not answer.
        """
        homeless: list[Deployment] = []
        for deployment in deployments:
            if deployment.message is not None:
                self._want(deployment.id, Urgency.PHASE)
            elif deployment.channel:
                homeless.append(deployment)
        if homeless:
            self._spawn(self._house(homeless))

    async def _house(self, homeless: list[Deployment]) -> None:
        """Find or post messages until none is left that could still succeed."""
        for tries in range(1, HOUSING_TRIES + 1):
            again: list[Deployment] = []
            for deployment in homeless:
                try:
                    place = await self.find_or_post(deployment)
                    await self._settle_place(deployment.id, place)
                except BotError as error:
                    log.warning("message_not_posted", deployment_id=deployment.id, error=str(error))
                    if not isinstance(error, SlackError) or error.code in PASSING:
                        again.append(deployment)
            if not again:
                return
            homeless = again
            await self._clock.sleep(backoff(tries))

    # The pump ---------------------------------------------------------------------------------

    def _want(self, deployment_id: str, urgency: Urgency, hold: timedelta = timedelta(0)) -> None:
        if self._gate.want(deployment_id, urgency, hold=hold):
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            match self._gate.take():
                case Go() as turn:
                    self._spawn(self._turn(turn))
                case Wait(seconds=seconds):
                    await self._sleep_or_wake(timedelta(seconds=seconds))
                case None:
                    await self._wake.wait()

    async def _sleep_or_wake(self, duration: timedelta) -> None:
        naps = [
            asyncio.ensure_future(self._clock.sleep(duration)),
            asyncio.ensure_future(self._wake.wait()),
        ]
        try:
            await asyncio.wait(naps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for nap in naps:
                nap.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)

    async def _turn(self, turn: Go) -> None:
        """One edit, admitted by the gate."""
        edited = True
        try:
            edited = await self._converge(turn.key, turn.urgency)
        except Exception:
            log.exception("edit_failed", deployment_id=turn.key)
            self._gate.want(turn.key, Urgency.PHASE, hold=RETRY_MOST)
        finally:
            self._gate.done(turn.key, edited=edited)
            self._wake.set()
            self._settled.set()

    async def _converge(self, deployment_id: str, urgency: Urgency) -> bool:
        """Show the newest state; whether Slack was asked to edit."""
        known = await self._ours(deployment_id)
        if known is None:
            self._forget(deployment_id)
            return False
        deployment, shown = known
        if not shown.stored:
            await self._settle_place(deployment_id, shown.place)
            shown.stored = True
        rendered, lines = self._render(deployment, bare=shown.bare)
        changed_at, shown.changed_at = shown.changed_at, None
        due = urgency is Urgency.ROUTINE and deployment.phase in RUNNING
        if shown.gone or (rendered.shown_hash == shown.hash and not due):
            self._after(deployment, shown, hold=self._gate.refresh_interval())
            return False
        try:
            await self._client.update(
                shown.place.channel, shown.place.ts, text=rendered.text, blocks=rendered.blocks
            )
        except RateLimited as error:
            self._gate.pause(error.retry_after)
            self._again(deployment, shown, changed_at, urgency)
        except MessageGone as error:
            log.info("message_gone", deployment_id=deployment_id, code=error.code)
            await self._post_anew(deployment, shown)
        except SlackError as error:
            self._failed(deployment, shown, changed_at, error)
        else:
            shown.note(deployment, rendered, lines=lines)
            if changed_at is not None and self._edit_lag is not None:
                self._edit_lag(timedelta(seconds=self._clock.monotonic() - changed_at))
            self._after(deployment, shown)
        return True

    async def _ours(self, deployment_id: str) -> tuple[Deployment, Shown] | None:
        """The newest row and its message; None: there is none, or it is not ours to show."""
        tracked = self._cache.get(deployment_id)
        deployment = tracked.deployment if tracked else await self._store.get(deployment_id)
        shown = self._shown.get(deployment_id)
        if shown is None and deployment is not None and deployment.message is not None:
            shown = self._shown[deployment_id] = Shown(place=deployment.message)
        if deployment is None or shown is None:
            return None
        if deployment.phase in RUNNING and not self.shows_running(deployment_id):
            return None
        return deployment, shown

    def _after(
        self, deployment: Deployment, shown: Shown, *, hold: timedelta = timedelta(0)
    ) -> None:
        """Plan the next refresh of a running one; let an ended one leave memory."""
        if deployment.phase in RUNNING and not shown.gone:
            self._want(deployment.id, Urgency.ROUTINE, hold)
        elif deployment.phase in ENDINGS and not self._gate.wants(deployment.id):
            self._forget(deployment.id)

    def _forget(self, deployment_id: str) -> None:
        self._shown.pop(deployment_id, None)
        self._gate.forget(deployment_id)

    def _again(
        self,
        deployment: Deployment,
        shown: Shown,
        changed_at: float | None,
        urgency: Urgency,
        hold: timedelta = timedelta(0),
    ) -> None:
        shown.changed_at = changed_at if changed_at is not None else shown.changed_at
        urgency = Urgency.NOW if deployment.phase in ENDINGS else urgency
        self._want(deployment.id, urgency, hold)

    def _failed(
        self, deployment: Deployment, shown: Shown, changed_at: float | None, error: SlackError
    ) -> None:
        shown.failures += 1
        log.warning(
            "message_not_edited",
            deployment_id=deployment.id,
            code=error.code,
            failures=shown.failures,
        )
        shown.bare = shown.bare or error.code in TOO_LARGE
        if deployment.phase in ENDINGS and shown.failures >= TRIES_AFTER_THE_END:
            self._forget(deployment.id)
            return
        self._again(deployment, shown, changed_at, Urgency.PHASE, backoff(shown.failures))

    async def _post_anew(self, deployment: Deployment, shown: Shown) -> None:
        """The message was deleted: one new one, once."""
        rendered, lines = self._render(without_ping(deployment), bare=shown.bare)
        if deployment.id not in self._posted_anew:
            self._posted_anew.add(deployment.id)
            try:
                shown.place = await self._posting.post_anew(deployment, rendered, shown.place)
            except SlackError as error:
                log.warning("message_not_posted_anew", deployment_id=deployment.id, code=error.code)
                shown.gone = True
            else:
                shown.note(deployment, rendered, lines=lines)
                shown.stored = False
                await self._settle_place(deployment.id, shown.place)
                shown.stored = True
                self._want(deployment.id, Urgency.PHASE)
        else:
            shown.gone = True
        self._after(deployment, shown)

    async def _settle_place(self, deployment_id: str, place: MessagePlace) -> None:
        """Store a place that the service did not ask for, and let the cache know."""
        await self._store.place_message(deployment_id, place)
        tracked = self._cache.get(deployment_id)
        if tracked is not None:
            self._cache.put(replace(tracked.deployment, message=place))

    def _render(self, deployment: Deployment, *, bare: bool = False) -> tuple[Rendered, bool]:
        """The message, and whether lines of the log were at hand."""
        progress = self._cache.progress(deployment.id)
        shown = replace(progress, tail=(), excerpt=(), notes=()) if bare else progress
        url = None
        if deployment.repo and deployment.sha:
            url = self._commit_url(deployment.repo, deployment.sha)
        rendered = render(
            deployment,
            shown,
            now=self._clock.now(),
            buttons=self._buttons,
            commit_url=url,
            updates_every=self._gate.refresh_interval(),
            running=self._gate.running_together(),
        )
        return rendered, bool(progress.tail)
