"""`override`, which the standard library has from Python 3.12 on."""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import override
else:
    Thing = TypeVar("Thing")

    def override(thing: Thing) -> Thing:
        """Mark a method that replaces a base class's one, for the type checker."""
        return thing


__all__ = ["override"]
