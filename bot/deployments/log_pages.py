"""A stored log in pages, without reading all of it: up to 16 MB are kept. Pure.

A page is cut from the pieces in which a log is stored, by their sizes alone, so only its own pieces
are read. Pieces are only ever added, so a page keeps its number while the log grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PAGE_CHARACTERS = 6_000
"""No page is longer."""
_USUAL = 5_000
"""Bytes of a page, before it is moved to the end of a line."""
_LINE = PAGE_CHARACTERS - _USUAL
"""How far a page's end may move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAt:
    """Where the text of a page is."""

    first: int
    """Its first piece."""
    last: int
    part: int = 0
    parts: int = 1
    """Number of pages that a large piece is cut into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPages:
    """Some pages of a log, one after the other."""

    first: int
    """Number of the first one, from 0."""
    texts: Sequence[str]
    """At least one, which may be empty."""
    count: int
    """Of all pages of the log; at least 1."""
    size: int
    """Of the whole log, in bytes."""


def plan(sizes: Sequence[int]) -> Sequence[PageAt]:
    """The pages of a log whose pieces have these sizes in bytes; at least one."""
    pages: list[PageAt] = []
    begin, total = 0, 0
    for at, size in enumerate(sizes):
        if at > begin and total + size > _USUAL:
            pages.append(PageAt(first=begin, last=at - 1))
            begin, total = at, 0
        total += size
        if size > _USUAL:
            parts = -(-size // _USUAL)
            pages += [PageAt(first=at, last=at, part=part, parts=parts) for part in range(parts)]
            begin, total = at + 1, 0
    if begin < len(sizes) or not pages:
        pages.append(PageAt(first=begin, last=len(sizes) - 1))
    return pages


def choose(count: int, first: int | None, most: int) -> range:
    """Which of `count` pages to show; `first` None or past the end: the newest."""
    begin = count - most if first is None else min(first, count - 1)
    begin = max(0, begin)
    return range(begin, min(count, begin + most))


def cut_page(text: str, page: PageAt) -> str:
    """The page's part of the text of its pieces."""
    return text[_bound(text, page.part, page.parts) : _bound(text, page.part + 1, page.parts)]


def paginate(text: str) -> Sequence[str]:
    """The pages of a log that is stored in one piece."""
    return [cut_page(text, page) for page in plan([len(text.encode(errors="replace"))])]


def _bound(text: str, part: int, parts: int) -> int:
    """Where a part begins: after the last line end before its share of the text."""
    at = len(text) * part // parts
    if part in {0, parts}:
        return at
    line_end = text.rfind("\n", max(0, at - _LINE), at)
    return line_end + 1 if line_end >= 0 else at
