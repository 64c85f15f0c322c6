"""A small JSON checker that reports problems in Slack's words, with a JSON pointer."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

Problems = list[str]
Check = Callable[[Any, str, Problems], None]
"""Takes the value, a JSON pointer to it, and the list to add problems to."""


def complain(problems: Problems, what: str, pointer: str) -> None:
    """Add a problem in Slack's words: `must be … [json-pointer:/blocks/0/text]`."""
    problems.append(f"{what} [json-pointer:{pointer}]")


def string(*, most: int, least: int = 1) -> Check:
    """A string of `least` to `most` characters."""

    def check(value: Any, pointer: str, problems: Problems) -> None:
        if not isinstance(value, str):
            complain(problems, "must be a string", pointer)
        elif len(value) > most:
            complain(problems, f"must be less than {most + 1} characters", pointer)
        elif len(value) < least:
            complain(problems, f"must be more than {least - 1} characters", pointer)

    return check


def matching(pattern: str, what: str, *, most: int) -> Check:
    """A string that matches a pattern."""
    compiled = re.compile(pattern)
    length = string(most=most)

    def check(value: Any, pointer: str, problems: Problems) -> None:
        length(value, pointer, problems)
        if isinstance(value, str) and not compiled.fullmatch(value):
            complain(problems, f"must be {what}", pointer)

    return check


def one_of(*allowed: str) -> Check:
    """One of a few words."""

    def check(value: Any, pointer: str, problems: Problems) -> None:
        if value not in allowed:
            complain(problems, f"must be one of {', '.join(allowed)}", pointer)

    return check


def boolean(value: Any, pointer: str, problems: Problems) -> None:
    """`true` or `false`."""
    if not isinstance(value, bool):
        complain(problems, "must be a boolean", pointer)


def integer(*, least: int, most: int) -> Check:
    """A whole number in a range."""

    def check(value: Any, pointer: str, problems: Problems) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            complain(problems, "must be an integer", pointer)
        elif not least <= value <= most:
            complain(problems, f"must be between {least} and {most}", pointer)

    return check


def array(item: Check, *, most: int, least: int = 1) -> Check:
    """A list whose items pass `item`."""

    def check(value: Any, pointer: str, problems: Problems) -> None:
        if not isinstance(value, list):
            complain(problems, "must be an array", pointer)
            return
        if len(value) > most:
            complain(problems, f"no more than {most} items allowed", pointer)
        if len(value) < least:
            complain(problems, f"no less than {least} items allowed", pointer)
        for number, element in enumerate(value):
            item(element, f"{pointer}/{number}", problems)

    return check


def shape(properties: Mapping[str, Check], *, required: Collection[str] = ()) -> Check:
    """An object with these properties and no others."""

    def check(value: Any, pointer: str, problems: Problems) -> None:
        if not isinstance(value, dict):
            complain(problems, "must provide an object", pointer)
            return
        for key in required:
            if key not in value:
                complain(problems, f"missing required field: {key}", pointer)
        for key, inner in value.items():
            if key in properties:
                properties[key](inner, f"{pointer}/{key}", problems)
            else:
                complain(problems, f"invalid additional property: {key}", pointer)

    return check


def typed(variants: Mapping[str, Check]) -> Check:
    """An object whose `type` chooses the variant."""

    def check(value: Any, pointer: str, problems: Problems) -> None:
        if not isinstance(value, dict):
            complain(problems, "must provide an object", pointer)
            return
        kind = value.get("type")
        if kind is None:
            complain(problems, "missing required field: type", pointer)
        elif kind not in variants:
            complain(problems, f"unsupported type: {kind}", f"{pointer}/type")
        else:
            rest = {key: inner for key, inner in value.items() if key != "type"}
            variants[kind](rest, pointer, problems)

    return check


def also(first: Check, *more: Check) -> Check:
    """All of these checks."""

    def check(value: Any, pointer: str, problems: Problems) -> None:
        for each in (first, *more):
            each(value, pointer, problems)

    return check
