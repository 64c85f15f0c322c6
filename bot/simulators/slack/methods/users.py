"""`users.*`, `usergroups.*`, `bots.*`, `auth.*` and `apps.*`: who is here, who the app is."""

from collections.abc import Callable, Mapping

from bot.simulators.slack.json_objects import bot_json
from bot.simulators.slack.methods.method import Method
from bot.simulators.slack.model import ApiError, Json
from bot.simulators.slack.workspace import Workspace


class Users:
    """The methods about users, groups and the app.

    Args:
        workspace: whose users.
        page_url: the workspace's address.
        open_connection: opens a Socket Mode connection; None in HTTP mode.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        page_url: str,
        open_connection: Callable[[], Json] | None,
    ) -> None:
        self._workspace = workspace
        self._page_url = page_url
        self._open_connection = open_connection

    def methods(self) -> Mapping[str, Method]:
        """Return the methods by name."""
        return {
            "users.info": Method(
                handler=self._user,
                arguments={"user": "string"},
                required=("user",),
                scopes=("users:read",),
                tier=4,
            ),
            "usergroups.users.list": Method(
                handler=self._group_users,
                arguments={"usergroup": "string", "include_disabled": "boolean"},
                required=("usergroup",),
                scopes=("usergroups:read",),
                tier=2,
            ),
            "bots.info": Method(
                handler=self._bot, arguments={"bot": "string"}, scopes=("users:read",), tier=3
            ),
            "auth.test": Method(handler=self._auth_test, arguments={}),
            "apps.connections.open": Method(
                handler=self._connections_open, arguments={}, tier=3, token="app"
            ),
        }

    def _user(self, args: Json) -> Json:
        """users.info."""
        user = self._workspace.users.get(args["user"])
        if user is None:
            raise ApiError("user_not_found")
        return {"ok": True, "user": user.to_json()}

    def _group_users(self, args: Json) -> Json:
        """usergroups.users.list."""
        group = self._workspace.groups.get(args["usergroup"])
        if group is None:
            raise ApiError("no_such_subteam")
        return {"ok": True, "users": list(group.users)}

    def _bot(self, args: Json) -> Json:
        """bots.info."""
        if args.get("bot", self._workspace.bot.bot_id) != self._workspace.bot.bot_id:
            raise ApiError("bot_not_found")
        return {"ok": True, "bot": bot_json(self._workspace)}

    def _auth_test(self, _args: Json) -> Json:
        """auth.test."""
        bot = self._workspace.bot
        return {
            "ok": True,
            "url": self._page_url,
            "team": "Simulated",
            "user": bot.name,
            "team_id": self._workspace.team_id,
            "user_id": bot.id,
            "bot_id": bot.bot_id,
            "enterprise_id": self._workspace.enterprise_id,
            "is_enterprise_install": False,
        }

    def _connections_open(self, _args: Json) -> Json:
        """apps.connections.open: the address of a Socket Mode connection."""
        if self._open_connection is None:
            raise ApiError("socket_mode_not_enabled")
        return self._open_connection()
