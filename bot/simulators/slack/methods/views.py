"""`views.*`: modals, at most three stacked per user, and Home tabs."""

from collections.abc import Mapping
from typing import Any

from bot.simulators.slack import validation
from bot.simulators.slack.interaction_tokens import InteractionTokens
from bot.simulators.slack.json_objects import view_json
from bot.simulators.slack.methods.method import Method
from bot.simulators.slack.model import ApiError, Json, View
from bot.simulators.slack.user_input import initial_values
from bot.simulators.slack.workspace import Workspace

MOST_VIEWS = 3


class Views:
    """The methods of `views.*`, and the same actions as answers to a submission."""

    def __init__(self, *, workspace: Workspace, tokens: InteractionTokens, home_tab: bool) -> None:
        self._workspace = workspace
        self._tokens = tokens
        self._home_tab = home_tab

    def methods(self) -> Mapping[str, Method]:
        """Return the methods by name."""
        return {
            "views.open": Method(
                handler=self._open,
                arguments={"trigger_id": "string", "view": "json"},
                required=("trigger_id", "view"),
                tier=4,
            ),
            "views.push": Method(
                handler=self._push,
                arguments={"trigger_id": "string", "view": "json"},
                required=("trigger_id", "view"),
                tier=4,
            ),
            "views.update": Method(
                handler=self._update,
                arguments={
                    "view_id": "string",
                    "external_id": "string",
                    "view": "json",
                    "hash": "string",
                },
                required=("view",),
                tier=4,
            ),
            "views.publish": Method(
                handler=self._publish,
                arguments={"user_id": "string", "view": "json", "hash": "string"},
                required=("user_id", "view"),
                tier=4,
            ),
        }

    def _open(self, args: Json) -> Json:
        """views.open: replaces all modals that the user has open."""
        payload = validation.check_view(args["view"], kind="modal")
        self._check_external_id(payload, replacing=None)
        user, _ = self._tokens.exchange(args["trigger_id"])
        view = self._new(user, payload, below=None)
        self._workspace.modals[user] = [view]
        self._workspace.changes.add("view_opened", f"{user} {view.id} {view.title!r}")
        return self._answer(view)

    def _push(self, args: Json) -> Json:
        """views.push: opens on top of the modal from which the trigger came."""
        payload = validation.check_view(args["view"], kind="modal")
        self._check_external_id(payload, replacing=None)
        user, view_id = self._tokens.exchange(args["trigger_id"])
        below = self._workspace.open_view(user)
        if below is None or below.id != view_id:
            raise ApiError("not_found")
        return self._answer(self.push_onto(below, payload))

    def _update(self, args: Json) -> Json:
        """views.update; a `hash` guards against races."""
        view = None
        if ("view_id" in args) == ("external_id" in args):
            raise ApiError(
                "invalid_arguments", messages=["[ERROR] either view_id or external_id is required"]
            )
        if "view_id" in args:
            view = self._workspace.view(args["view_id"])
        else:
            view = self._workspace.view_by_external_id(args["external_id"])
        if view is None:
            raise ApiError("not_found")
        payload = validation.check_view(args["view"], kind=view.type)
        self._check_external_id(payload, replacing=view)
        if "hash" in args and args["hash"] != view.hash:
            raise ApiError("hash_conflict")
        self.replace(view, payload)
        return self._answer(view)

    def _publish(self, args: Json) -> Json:
        """views.publish: a user's Home tab."""
        if not self._home_tab:
            raise ApiError("not_enabled")
        user = args["user_id"]
        if user not in self._workspace.users:
            raise ApiError("user_not_found")
        payload = validation.check_view(args["view"], kind="home")
        view = self._workspace.homes.get(user)
        self._check_external_id(payload, replacing=view)
        if "hash" in args and (view is None or args["hash"] != view.hash):
            raise ApiError("hash_conflict")
        if view is None:
            view_id = self._workspace.new_id("V")
            view = View(
                id=view_id,
                type="home",
                user=user,
                payload=payload,
                hash=self._workspace.new_hash(),
                root_view_id=view_id,
            )
            self._workspace.homes[user] = view
        self.replace(view, payload)
        return self._answer(view)

    def push_onto(self, below: View, payload: Json) -> View:
        """Put a modal on top of another one. Raises: ApiError push_limit_reached."""
        stack = self._workspace.modals[below.user]
        if len(stack) >= MOST_VIEWS:
            raise ApiError("push_limit_reached")
        view = self._new(below.user, payload, below=below)
        stack.append(view)
        self._workspace.changes.add("view_opened", f"{view.user} {view.id} {view.title!r}")
        return view

    def replace(self, view: View, payload: Json) -> None:
        """Show other content in the same view; typed values stay where the ids stay."""
        kept = view.values
        view.payload = payload
        view.errors = {}
        view.hash = self._workspace.new_hash()
        view.values = initial_values(payload["blocks"])
        for block_id, actions in view.values.items():
            for action_id, value in actions.items():
                old: Any = kept.get(block_id, {}).get(action_id)
                if old is not None and old["type"] == value["type"]:
                    actions[action_id] = old
        self._workspace.changes.add("view_updated", f"{view.user} {view.id} {view.title!r}")

    def close(self, view: View, *, everything: bool = False) -> None:
        """Close a modal, or the user's whole stack."""
        stack = self._workspace.modals[view.user]
        if everything:
            stack.clear()
        elif view in stack:  # else `views.open` has replaced it
            stack.remove(view)
        self._workspace.changes.add("view_closed", f"{view.user} {view.id}")

    def _new(self, user: str, payload: Json, *, below: View | None) -> View:
        view_id = self._workspace.new_id("V")
        return View(
            id=view_id,
            type="modal",
            user=user,
            payload=payload,
            hash=self._workspace.new_hash(),
            values=initial_values(payload["blocks"]),
            root_view_id=view_id if below is None else below.root_view_id,
            previous_view_id=None if below is None else below.id,
        )

    def _check_external_id(self, payload: Json, *, replacing: View | None) -> None:
        external_id = payload.get("external_id")
        if external_id:
            holder = self._workspace.view_by_external_id(external_id)
            if holder is not None and holder is not replacing:
                raise ApiError("duplicate_external_id")

    def _answer(self, view: View) -> Json:
        return {"ok": True, "view": view_json(self._workspace, view)}
