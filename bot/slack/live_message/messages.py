"""The ONE message of each deployment: it is edited until it shows the newest state.

A message is rendered when the edit gate gives it its turn, from the newest state known then.
What it shows is remembered as a hash only. After a restart that is unknown, so each unfinished
message is edited once.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.clock import Clock, Tasks, first_of
from bot.deployments.model import Deployment, MessagePlace
from bot.deployments.ports import Announcer, Urgency
from bot.deployments.state.repository import DeploymentCache
from bot.deployments.states import ENDINGS, RUNNING
from bot.errors import BotError, MessageGone, SlackError, StoreError
from bot.slack.budget import EditGate, Go, Wait
from bot.slack.live_message.message import (
    LONGEST_BACKOFF,
    EditingClient,
    LiveMessage,
    Places,
    Posting,
    backoff,
    urgency_of,
    without_ping,
)
from bot.slack.refusals import OUT, PASSING, RateLimited
from bot.slack.render.blocks import Button
from bot.slack.render.deployment import Rendered, render

log = structlog.get_logger(__name__)

READING_END_HOLD = timedelta(seconds=1)
"""Reading what is live mostly takes less. The next edit then shows the result, and is not spent
on a message that says that it is being read."""
LATE_EDIT = timedelta(seconds=30)
"""How late an edit that was not answered may arrive: the result is shown once more after it."""
TRIES_AFTER_THE_END = 30
"""About half an hour of failing edits; then an ended message is left as it is."""
POSTING_TRIES = 30
STORE_PAUSE = timedelta(seconds=2)
TOO_LARGE = frozenset({"msg_too_long", "msg_blocks_too_long", "invalid_blocks"})


def _no_link(_repo: str, *_shas: str) -> str | None:
    return None


class LiveMessages(Announcer):
    """Posts and edits the live messages. `start` it; `flush`, then `stop` it."""

    def __init__(
        self,
        *,
        client: EditingClient,
        cache: DeploymentCache,
        store: Places,
        gate: EditGate,
        clock: Clock,
        buttons: Sequence[Button],
        name_server: bool = True,
        commit_url: Callable[[str, str], str | None] = _no_link,
        compare_url: Callable[[str, str, str], str | None] = _no_link,
        edit_lag: Callable[[timedelta], None] | None = None,
    ) -> None:
        self._client = client
        self._posting = Posting(client=client, clock=clock)
        self._cache = cache
        self._store = store
        self._gate = gate
        self._clock = clock
        self._buttons = buttons
        self._name_server = name_server
        self._commit_url = commit_url
        self._compare_url = compare_url
        self._edit_lag = edit_lag
        self._shows_running: Callable[[str], bool] = lambda _id: True
        self._messages: dict[str, LiveMessage] = {}
        self._posted_again: set[str] = set()
        """Deleted once already; kept longer than `_messages`: something may follow a result."""
        self._wake = asyncio.Event()
        self._edit_done = asyncio.Event()
        self._tasks = Tasks()

    def start(self, *, shows_running: Callable[[str], bool] = lambda _id: True) -> None:
        """Start to edit. Posting works without it.

        `shows_running` says whether this replica shows a running deployment. Only its owner knows
        its log; another replica would overwrite what the owner shows.
        """
        self._shows_running = shows_running
        self._tasks.spawn(self._run(), name="live messages")

    async def stop(self) -> None:
        """Stop at once; edits in flight are cancelled."""
        await self._tasks.close()

    async def flush(self, limit: timedelta) -> bool:
        """Wait until results and phases are shown; False: `limit` was too short."""
        try:
            async with asyncio.timeout(limit.total_seconds()):
                while self._gate.waiting(Urgency.PHASE):
                    self._edit_done.clear()
                    await self._edit_done.wait()
        except TimeoutError:
            return False
        return True

    async def post(self, deployment: Deployment) -> MessagePlace:
        """Post the live message; the caller stores its place.

        SlackError: it cannot be posted, with a sentence for the requester.
        """
        rendered, has_lines = self._render(without_ping(deployment))
        place = await self._posting.post(deployment, rendered)
        message = self._messages[deployment.id] = LiveMessage(place=place)
        message.shows(deployment, rendered, has_lines=has_lines)
        self._want(deployment.id, Urgency.PHASE)  # the state may have changed meanwhile
        return place

    async def find_or_post(self, deployment: Deployment) -> MessagePlace:
        """The message of a deployment whose place is unknown: found, or posted now.

        The caller stores its place. SlackError as for `post`.
        """
        place = await self._posting.find(deployment)
        if place is None:
            return await self.post(deployment)
        self._messages[deployment.id] = LiveMessage(place=place)
        self._want(deployment.id, Urgency.PHASE)
        return place

    def changed(self, deployment_id: str, urgency: Urgency) -> None:
        """Plan an edit. Returns at once, and may be called at any rate."""
        tracked = self._cache.get(deployment_id)
        message = self._messages.get(deployment_id)
        hold = timedelta(0)
        if tracked is not None:
            if message is None and tracked.deployment.message is None:
                return  # it is being posted and compared afterwards, or it has no message
            if message is not None and message.out and tracked.deployment.phase not in ENDINGS:
                return  # the next try is planned, or comes with the bot's return
            urgency = urgency_of(message, tracked.deployment, tracked.progress, urgency)
            if tracked.progress.reading_end and tracked.deployment.phase not in ENDINGS:
                urgency, hold = Urgency.PHASE, READING_END_HOLD
        if message is not None and message.changed_at is None and urgency is not Urgency.ROUTINE:
            message.changed_at = self._clock.monotonic()
        self._want(deployment_id, urgency, hold)

    async def resume(self, deployments: Iterable[Deployment]) -> None:
        """After a start: bring the messages of unfinished deployments up to date.

        Returns at once. A message whose place is unknown is searched for, or posted; again later
        where Slack did not answer.
        """
        unplaced: list[Deployment] = []
        for deployment in deployments:
            if deployment.message is not None:
                self._want(deployment.id, Urgency.PHASE)
            elif deployment.channel:
                unplaced.append(deployment)
        if unplaced:
            self._tasks.spawn(self._find_or_post_all(unplaced))

    async def _find_or_post_all(self, unplaced: list[Deployment]) -> None:
        """Find or post messages until none is left that could still succeed."""
        for tries in range(1, POSTING_TRIES + 1):
            later: list[Deployment] = []
            for deployment in unplaced:
                try:
                    place = await self.find_or_post(deployment)
                    await self._store_place(deployment.id, place)
                except BotError as error:
                    log.warning("message_not_posted", deployment_id=deployment.id, error=str(error))
                    if not isinstance(error, SlackError) or error.code in PASSING:
                        later.append(deployment)
            if not later:
                return
            unplaced = later
            await self._clock.sleep(backoff(tries))

    # Editing ----------------------------------------------------------------------------------

    def _want(self, deployment_id: str, urgency: Urgency, hold: timedelta = timedelta(0)) -> None:
        if self._gate.want(deployment_id, urgency, hold=hold):
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            match self._gate.take():
                case Go() as turn:
                    self._tasks.spawn(self._turn(turn))
                case Wait(seconds=seconds):
                    await first_of(self._clock.sleep(timedelta(seconds=seconds)), self._wake.wait())
                case None:
                    await self._wake.wait()

    async def _turn(self, turn: Go) -> None:
        """One edit, admitted by the gate."""
        edited = True
        try:
            edited = await self._show_newest(turn.key, turn.urgency)
        except StoreError as error:
            log.info("edit_postponed", deployment_id=turn.key, why=str(error))
            self._gate.want(turn.key, turn.urgency, hold=STORE_PAUSE)
            edited = False
        except Exception:
            log.exception("edit_failed", deployment_id=turn.key)
            self._gate.want(turn.key, Urgency.PHASE, hold=LONGEST_BACKOFF)
        finally:
            self._gate.done(turn.key, edited=edited)
            self._wake.set()
            self._edit_done.set()

    async def _show_newest(self, deployment_id: str, urgency: Urgency) -> bool:
        """Edit the message if it is out of date; whether Slack was asked to edit."""
        known = await self._known(deployment_id)
        if known is None:
            self._forget(deployment_id)
            return False
        deployment, message = known
        rendered, has_lines = self._render(deployment, bare=message.bare)
        changed_at, message.changed_at = message.changed_at, None
        refresh = urgency is Urgency.ROUTINE and deployment.phase in RUNNING
        if message.gone or (rendered.shown_hash == message.hash and not refresh):
            self._after(deployment, message, hold=self._gate.refresh_interval())
            return False
        place = message.place
        try:
            await self._client.update(
                place.channel, place.ts, text=rendered.text, blocks=rendered.blocks
            )
        except RateLimited as error:
            self._gate.pause(error.retry_after)
            self._try_again(deployment, message, changed_at, urgency)
        except MessageGone as error:
            log.info("message_gone", deployment_id=deployment_id, code=error.code)
            if message.may_come_back(error.code):
                self._out_of_channel(deployment, message, changed_at)
            else:
                await self._post_again(deployment, message, changed_at)
        except SlackError as error:
            self._failed(deployment, message, changed_at, error)
        else:
            message.shows(deployment, rendered, has_lines=has_lines)
            if message.needs_another(deployment):
                self._want(deployment.id, Urgency.NOW, LATE_EDIT)
            if changed_at is not None and self._edit_lag is not None:
                self._edit_lag(timedelta(seconds=self._clock.monotonic() - changed_at))
            self._after(deployment, message)
        return True

    async def _known(self, deployment_id: str) -> tuple[Deployment, LiveMessage] | None:
        """The newest row and its message; None: there is none, or another replica shows it."""
        tracked = self._cache.get(deployment_id)
        deployment = tracked.deployment if tracked else await self._store.get(deployment_id)
        message = self._messages.get(deployment_id)
        if message is None and deployment is not None and deployment.message is not None:
            message = self._messages[deployment_id] = LiveMessage(place=deployment.message)
        if deployment is None or message is None:
            return None
        if not message.stored:
            await self._store_place(deployment_id, message.place)
            message.stored = True
        if deployment.phase not in RUNNING | ENDINGS:
            # Nobody owns what waits: another replica may have started it since it was cached.
            fresh = await self._store.get(deployment_id)
            deployment = fresh if fresh and fresh.phase is not deployment.phase else deployment
        # Last, and no wait before the edit: a lease may run out while others are asked.
        if deployment.phase in RUNNING and not self._shows_running(deployment_id):
            return None
        return deployment, message

    def _after(
        self, deployment: Deployment, message: LiveMessage, *, hold: timedelta = timedelta(0)
    ) -> None:
        """Plan the next refresh of a running deployment; forget an ended one."""
        if deployment.phase in RUNNING and not message.gone:
            self._want(deployment.id, Urgency.ROUTINE, hold)
        elif deployment.phase in ENDINGS and not self._gate.wants(deployment.id):
            self._forget(deployment.id)

    def _forget(self, deployment_id: str) -> None:
        self._messages.pop(deployment_id, None)
        self._gate.forget(deployment_id)

    def _try_again(
        self,
        deployment: Deployment,
        message: LiveMessage,
        changed_at: float | None,
        urgency: Urgency,
        hold: timedelta = timedelta(0),
    ) -> None:
        message.changed_at = changed_at if changed_at is not None else message.changed_at
        urgency = Urgency.NOW if deployment.phase in ENDINGS else urgency
        self._want(deployment.id, urgency, hold)

    def _failed(
        self,
        deployment: Deployment,
        message: LiveMessage,
        changed_at: float | None,
        error: SlackError,
    ) -> None:
        message.was_refused(error.code)
        log.warning(
            "message_not_edited",
            deployment_id=deployment.id,
            code=error.code,
            failures=message.failures,
        )
        message.bare = message.bare or error.code in TOO_LARGE
        if deployment.phase in ENDINGS and message.failures >= TRIES_AFTER_THE_END:
            self._forget(deployment.id)
            return
        hold = backoff(message.failures)
        self._try_again(deployment, message, changed_at, Urgency.PHASE, hold)

    def in_channel(self, channel: str) -> None:
        """The bot received something from a channel: its messages there can be edited again."""
        for deployment_id, message in self._messages.items():
            if message.out and message.place.channel == channel:
                self._want(deployment_id, Urgency.NOW)

    def _out_of_channel(
        self, deployment: Deployment, message: LiveMessage, changed_at: float | None
    ) -> None:
        """The message stays where it is, and shows the newest state once the bot is back."""
        hold = message.out_of_channel()
        if hold is not None:
            self._try_again(deployment, message, changed_at, Urgency.PHASE, hold)
        elif deployment.phase in ENDINGS:
            self._forget(deployment.id)

    async def _post_again(
        self, deployment: Deployment, message: LiveMessage, changed_at: float | None
    ) -> None:
        """The message was deleted: post it again, once."""
        rendered, has_lines = self._render(without_ping(deployment), bare=message.bare)
        message.gone = deployment.id in self._posted_again
        if not message.gone:
            try:
                message.place = await self._posting.post_again(deployment, rendered, message.place)
            except SlackError as error:
                log.warning(
                    "message_not_posted_again", deployment_id=deployment.id, code=error.code
                )
                if error.code in OUT:
                    # It may still be there, and be edited when the bot is back.
                    self._out_of_channel(deployment, message, changed_at)
                    return
                message.gone = True
            self._posted_again.add(deployment.id)
        if not message.gone:
            message.shows(deployment, rendered, has_lines=has_lines)
            message.stored = False
            await self._store_place(deployment.id, message.place)
            message.stored = True
            self._want(deployment.id, Urgency.PHASE)
        self._after(deployment, message)

    async def _store_place(self, deployment_id: str, place: MessagePlace) -> None:
        """Store a place that the service did not ask for, and update the cache."""
        await self._store.place_message(deployment_id, place)
        tracked = self._cache.get(deployment_id)
        if tracked is not None:
            self._cache.put(replace(tracked.deployment, message=place))

    def _render(self, deployment: Deployment, *, bare: bool = False) -> tuple[Rendered, bool]:
        """The message, and whether log lines were available."""
        progress = self._cache.progress(deployment.id)
        shown = replace(progress, tail=(), excerpt=(), notes=()) if bare else progress
        url = compare_url = None
        if deployment.repo and deployment.sha:
            url = self._commit_url(deployment.repo, deployment.sha)
            if (shipped := deployment.shipped) is not None and shipped.base is not None:
                ends = (shipped.base, deployment.sha)
                # What it takes back is what the live commit adds to it.
                ends = ends if shipped.ahead else ends[::-1]
                compare_url = self._compare_url(deployment.repo, *ends)
        rendered = render(
            deployment,
            shown,
            now=self._clock.now(),
            buttons=self._buttons,
            commit_url=url,
            compare_url=compare_url,
            name_server=self._name_server,
            updates_every=self._gate.refresh_interval(),
            running=self._gate.running,
        )
        return rendered, bool(progress.tail)
