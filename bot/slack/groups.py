"""Which user groups a person is in, for `deployers` and `approvers`."""

from collections.abc import Collection

import structlog

from bot.clock import Clock
from bot.deployments.ports import Groups
from bot.errors import SlackError
from bot.slack.client import SlackClient

log = structlog.get_logger(__name__)

KEPT_S = 300.0
"""Members are read again after this; `usergroups.users.list` is a tier 2 method."""


class SlackGroups(Groups):
    """Reads members on demand. A group that cannot be read has no members: default deny."""

    def __init__(self, *, client: SlackClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[str, tuple[float, frozenset[str]]] = {}

    async def groups_of(self, user: str, among: Collection[str]) -> frozenset[str]:
        return frozenset([group for group in among if user in await self._members(group)])

    async def _members(self, group: str) -> frozenset[str]:
        kept = self._kept.get(group)
        if kept is not None and self._clock.monotonic() - kept[0] < KEPT_S:
            return kept[1]
        try:
            members = await self._client.group_members(group)
        except SlackError as error:
            log.warning("group_not_read", group=group, error=error.code)
            return frozenset()
        self._kept[group] = (self._clock.monotonic(), members)
        return members
