"""The controls of the simulated Slack that only tests use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

from bot.simulators.slack.clock import Timings
from bot.simulators.slack.delivery import Ack, Delivery, Envelope, EnvelopeKind, NoAck
from bot.simulators.slack.faults import EVERY, Failure, Faults, Hold
from bot.simulators.slack.model import Channel, Message, NotPossible, User
from bot.simulators.slack.socket_mode import SocketHub
from bot.simulators.slack.workspace import Workspace


class TestControls:
    """Faults and inspection. `*` in place of a method's name means all methods."""

    __test__ = False  # not a test class for pytest

    workspace: Workspace
    _faults: Faults
    _delivery: Delivery
    _hub: SocketHub
    _timings: Timings

    def fail_for_test(
        self, method: str, *, error: str | None = None, status: int = 200, times: int = 1
    ) -> None:
        """The next `times` calls get this error code (or, without one, this bare HTTP status)."""
        failure = Failure(error=error, status=status, times=times)
        self._faults.failures.setdefault(method, []).append(failure)

    def rate_limit_for_test(self, method: str, retry_after_s: int, times: int = 1) -> None:
        """The next `times` calls get 429 with this Retry-After."""
        failure = Failure(error="ratelimited", status=429, retry_after_s=retry_after_s, times=times)
        self._faults.failures.setdefault(method, []).append(failure)

    def slow_for_test(self, method: str, seconds: float) -> None:
        """Calls wait this long before they are handled; 0: no longer."""
        self._faults.delays_s[method] = seconds

    def lose_response_for_test(self, method: str, times: int = 1) -> None:
        """The next calls are handled, but the connection breaks before the answer."""
        self._faults.lost_responses[method] = times

    @asynccontextmanager
    async def hold_for_test(self, method: str = EVERY) -> AsyncIterator[Hold]:
        """Calls of `method` wait until `release()` or the end of the block."""
        hold = Hold(method=method)
        self._faults.holds.append(hold)
        try:
            yield hold
        finally:
            self._faults.holds.remove(hold)
            hold.release()

    def clear_faults_for_test(self) -> None:
        """Remove all faults."""
        self._faults.clear()
        self._delivery.acks_to_lose = 0
        self._delivery.resume_for_test()

    def change_user_for_test(self, name: str, **changes: Any) -> User:
        """Make someone a guest, deactivate them, or move them to another workspace."""
        users = self.workspace.users
        old = next(one for one in users.values() if one.name == name)
        users[old.id] = replace(old, **changes)
        return users[old.id]

    def change_group_for_test(self, handle: str, *names: str) -> None:
        """Set the members of a user group."""
        groups, users = self.workspace.groups, self.workspace.users.values()
        old = next(one for one in groups.values() if one.handle == handle)
        members = tuple(one.id for one in users if one.name in names)
        groups[old.id] = replace(old, users=members)

    def join_enterprise_for_test(self, enterprise_id: str, *, sister: str) -> None:
        """Put the workspace into an organization; `sister` is a user of another one in it."""
        home = self.workspace.team_id
        self.workspace.enterprise_id = enterprise_id
        for user in list(self.workspace.users.values()):
            if user.team_id == home and not user.is_bot:
                self.change_user_for_test(user.name, enterprise_id=enterprise_id)
        self.change_user_for_test(sister, team_id="T03SISTER00", enterprise_id=enterprise_id)

    def restrict_for_test(
        self,
        channel: Channel,
        *,
        read_only: bool = False,
        threads: Literal["allowed", "only", "none"] = "allowed",
    ) -> None:
        """Set who may post in a channel, as an admin does."""
        channel.read_only, channel.threads = read_only, threads
        self.workspace.changes.add("channel_restricted", channel.name)

    def lock_thread_for_test(self, message: Message) -> None:
        """Lock a message's thread, as an admin does: replies are refused from now on."""
        message.locked = True
        self.workspace.changes.add("thread_locked", message.ts)

    def disable_uploads_for_test(self) -> None:
        """Disable all file uploads of the workspace."""
        self.workspace.uploads = False

    def disable_direct_messages_for_test(self) -> None:
        """Turn off the app's messages tab."""
        self.workspace.messages_tab = False

    def advance_clock_for_test(self, seconds: float) -> None:
        """Let trigger ids, response URLs and rate windows age."""
        self.workspace.clock.advance_for_test(seconds)

    def lose_acks_for_test(self, times: int = 1) -> None:
        """Slack does not receive the next acks: it resends events, and users see a failure."""
        self._delivery.acks_to_lose = times

    @asynccontextmanager
    async def pause_deliveries_for_test(self) -> AsyncIterator[None]:
        """Slack delivers nothing to the app within the block."""
        self._delivery.pause_for_test()
        try:
            yield
        finally:
            self._delivery.resume_for_test()

    async def redeliver_last_for_test(
        self, kind: EnvelopeKind | None = None, *, saying: str = "", new_id: bool = False
    ) -> Ack | NoAck:
        """Send the last envelope (of a kind) again, unchanged and not marked as a retry.

        `saying`: the last event about a message with these words. `new_id`: in a new envelope.
        """
        for attempt in reversed(self._delivery.attempts):
            envelope = attempt.envelope
            said = str(envelope.payload.get("event", {}).get("text", ""))
            if kind in {None, envelope.kind} and saying in said:
                if new_id:
                    envelope = Envelope(kind=envelope.kind, payload=envelope.payload)
                return await self._delivery.send(envelope)
        raise NotPossible("nothing has been delivered yet")

    @property
    def open_connections(self) -> int:
        """The number of sockets that the app has open."""
        return self._hub.open_connections

    def envelopes_per_connection_for_test(self) -> list[int]:
        """The number of envelopes sent on each connection there has been."""
        return self._hub.sent_per_connection

    def unknown_acks_for_test(self) -> list[str]:
        """Envelope ids that were acknowledged too late, twice, or never existed."""
        return list(self._hub.unknown_acks)

    async def disconnect_all_for_test(self, reason: str = "refresh_requested") -> None:
        """Ask the app to reconnect; `warning` announces it first."""
        await self._hub.disconnect_all(reason)
        if reason == "warning":
            self._delivery.spawn(self._refresh_later())

    def drop_tcp_for_test(self) -> None:
        """Cut all sockets without a WebSocket close."""
        self._hub.drop_all()

    def fall_silent_for_test(self) -> None:
        """All sockets stay open, but nothing passes: no pong, no ack. New ones work."""
        self._hub.fall_silent()

    async def _refresh_later(self) -> None:
        await asyncio.sleep(self._timings.disconnect_warning_s)
        await self._hub.disconnect_all("refresh_requested")
