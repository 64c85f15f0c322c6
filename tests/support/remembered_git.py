"""Git's answers about the simulated forge's repositories, read once in each process.

A repository with the same history gives the same answers, and for each deployment five git
processes would read them again.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from bot.deployments.refs import Commits, Found, NotThere, RefAnswer, Several
from bot.git import GitRefs
from bot.simulators.forge import Forge

Answer = TypeVar("Answer")
_KNOWN: dict[tuple[Path | str | None, ...], Any] = {}


class RememberedGit(GitRefs):
    """Asks git itself, but for what it answered before about an equal repository.

    A repository that the forge does not serve to everyone at once is always asked.
    """

    def __init__(self, forge: Forge, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._forge = forge

    async def resolve(self, repo: str, ref: str) -> RefAnswer:
        """As GitRefs."""
        return await self._remembered(
            (repo, "resolve", ref),
            super().resolve,
            lambda answer: isinstance(answer, Found | NotThere | Several),
        )

    async def commits(self, repo: str, sha: str, base: str | None) -> Commits | None:
        """As GitRefs. On a busy machine git may be too late with the comparison."""
        return await self._remembered(
            (repo, "commits", sha, base),
            super().commits,
            lambda answer: answer is not None and answer.base == base,
        )

    async def _remembered(
        self,
        question: tuple[str, str, str] | tuple[str, str, str, str | None],
        ask: Callable[..., Awaitable[Answer]],
        complete: Callable[[Answer], bool],
    ) -> Answer:
        repo, what, *asked = question
        served = self._forge.served_for_test(repo)
        key = (served, what, *asked)
        if key in _KNOWN:
            return _KNOWN[key]  # type: ignore[no-any-return]
        answer = await ask(repo, *asked)
        if served is not None and complete(answer):
            _KNOWN[key] = answer
        return answer
