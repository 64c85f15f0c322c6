"""One finding of `deploybot check`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works; something is missing, untested or will cause trouble."""
    WRONG = "wrong"


CONFIG = "config"
"""The check of the settings themselves."""
SHOWN = {State.OK: "ok   ", State.WARNING: "WARN ", State.WRONG: "WRONG"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check."""

    what: str
    state: State = State.OK
    found: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether it keeps nothing from working."""
        return self.state is not State.WRONG

    def line(self) -> str:
        """As a line for people."""
        fix = f" {self.fix}" if self.fix else ""
        return f"{SHOWN[self.state]}  {self.what}: {self.found}{fix}"

    def masked(self, mask: Callable[[str], str]) -> "Check":
        """Mask secrets in it."""
        return replace(self, found=mask(self.found), fix=mask(self.fix))

    def json(self) -> dict[str, object]:
        """As JSON for scripts."""
        # Scripts of users read the fix under this name.
        return {
            "check": self.what,
            "state": self.state.value,
            "ok": self.ok,
            "found": self.found,
            "mend": self.fix,
        }


def wrong(what: str, found: str, fix: str = "") -> Check:
    """It keeps something from working."""
    return Check(what=what, state=State.WRONG, found=found, fix=fix)


def warning(what: str, found: str, fix: str = "") -> Check:
    """It works, but."""
    return Check(what=what, state=State.WARNING, found=found, fix=fix)


def fine(what: str, found: str) -> Check:
    """Nothing to do."""
    return Check(what=what, found=found)


def sentence(error: Exception) -> str:
    """What an error says, with its full stop."""
    if isinstance(error, TimeoutError):
        return "no answer in time."
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def exit_status(found: Sequence[Check]) -> int:
    """0: nothing is wrong; 2: a setting is, as for `run`; else 1."""
    bad = {one.what for one in found if not one.ok}
    return 2 if CONFIG in bad else int(bool(bad))


def summary(found: Sequence[Check]) -> str:
    """How many of each state, as a line."""
    counts = {state: sum(one.state is state for one in found) for state in State}
    bad = counts[State.WRONG], counts[State.WARNING]
    warnings = f"{bad[1]} warning{'' if bad[1] == 1 else 's'}"
    return f"{bad[0]} wrong, {warnings}, {counts[State.OK]} ok."
