"""What somebody does on the page, done as one of the workspace's people."""

from collections.abc import Awaitable, Callable, Mapping

from bot.simulators.slack.errors import NotPossible
from bot.simulators.slack.model import Json, Message, User, View
from bot.simulators.slack.people import InteractionResult, People
from bot.simulators.slack.workspace import Workspace

Act = Callable[[User, Json], Awaitable[InteractionResult | None]]


class PageActs:
    """Reads what the page posted and calls the matching act."""

    def __init__(self, *, workspace: Workspace, people: People) -> None:
        self._workspace = workspace
        self._people = people
        self._acts: Mapping[str, Act] = {
            "command": self._command,
            "say": self._say,
            "click": self._click,
            "shortcut": self._shortcut,
            "delete": self._delete,
            "submit": self._submit,
            "close": self._close,
            "home": self._home,
        }

    async def do(self, body: Json) -> InteractionResult | None:
        """Do `body["act"]` as `body["user"]`; None for acts that no app answers.

        Raises: NotPossible; KeyError, TypeError, ValueError for a body that no page sends.
        """
        return await self._acts[body["act"]](self._workspace.users[body["user"]], body)

    async def _command(self, user: User, body: Json) -> InteractionResult:
        channel = self._workspace.channels[body["channel"]]
        return await self._people.command(user, channel, body["command"], body["text"])

    async def _say(self, user: User, body: Json) -> None:
        channel = self._workspace.channels[body["channel"]]
        await self._people.say(user, channel, body["text"], thread_ts=body.get("thread_ts"))

    async def _click(self, user: User, body: Json) -> InteractionResult:
        target = self._view(body) if "view" in body else self._message(user, body)
        return await self._people.click(
            user, target, action_id=body["action_id"], value=body.get("value")
        )

    async def _shortcut(self, user: User, body: Json) -> InteractionResult:
        message = self._message(user, body)
        return await self._people.shortcut(user, message, callback_id=body["callback_id"])

    async def _delete(self, user: User, body: Json) -> None:
        await self._people.delete(user, self._message(user, body))

    async def _submit(self, user: User, body: Json) -> InteractionResult:
        return await self._people.submit(user, self._view(body), body["values"])

    async def _close(self, user: User, body: Json) -> None:
        everything = body.get("everything", False)
        await self._people.close(user, self._view(body), everything=everything)

    async def _home(self, user: User, _body: Json) -> None:
        await self._people.open_home(user)

    def _view(self, body: Json) -> View:
        view = self._workspace.view(body["view"])
        if view is None:
            raise NotPossible("that view is no longer open")
        return view

    def _message(self, user: User, body: Json) -> Message:
        found = self._workspace.message(body["channel"], body["ts"])
        if found is not None:
            return found
        for message in self._workspace.ephemerals:
            if message.ts == body["ts"] and message.ephemeral_for == user.id:
                return message
        raise NotPossible("that message is gone")
