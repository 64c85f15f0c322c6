"""What every listener works with, and who may ask at all."""

from dataclasses import dataclass, field

from bot.clock import Clock
from bot.deployments.requests.queries import Queries
from bot.deployments.requests.service import Service
from bot.errors import SlackError
from bot.slack.client import SlackClient
from bot.slack.listeners.deliveries import KeyedLocks
from bot.slack.listeners.payloads import Asker
from bot.slack.listeners.replies import Answers
from bot.slack.render.blocks import Json

CLOSED_MEANWHILE = frozenset({"not_found", "hash_conflict"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The listeners' tools. One per process, made once Slack has said who the bot is."""

    service: Service
    client: SlackClient
    clock: Clock
    bot_user: str
    """The bot's own user id: a mention of it is a word to it."""
    repeats: KeyedLocks = field(default_factory=KeyedLocks)
    """By deployment id: two people press `Retry` at the same time, and one deployment starts."""

    @property
    def queries(self) -> Queries:
        """What listeners may ask."""
        return self.service.queries

    def admit(self, asker: Asker) -> None:
        """Let in people of the bot's own workspace. Declined: everybody else.

        The service says the same to whoever wants to change something; questions, logs and
        forms show what happens on the servers and are no less for insiders.
        """
        self.service.access.check_workspace(asker.actor)

    def answers(self, asker: Asker, *, aloud: bool = False) -> Answers:
        """The ways to answer this person."""
        return Answers(client=self.client, asker=asker, aloud=aloud)

    async def show_view(self, view_id: str, view: Json) -> None:
        """Show something else in a modal, if it is still open."""
        try:
            await self.client.update_view(view_id, view)
        except SlackError as error:
            if error.code not in CLOSED_MEANWHILE:
                raise
