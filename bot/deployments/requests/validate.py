"""Who may deploy, and which app a mistyped name means. Pure."""

import difflib
from collections.abc import Iterable

from bot.deployments.model import Actor, AppPolicy


def closest(name: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, or how to list the apps."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(f"`{one}`" for one in near) + "?"
    return " `/deploy apps` lists the apps."


def may_deploy(policy: AppPolicy, actor: Actor, groups_of_actor: frozenset[str]) -> bool:
    """Whether the actor is a deployer of the app; no deployers set: everybody is."""
    return not policy.deployers or bool(policy.deployers & ({actor.user} | groups_of_actor))
