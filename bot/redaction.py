"""Masks secrets in every text that is printed, logged, sent or stored.

Three layers: known values (settings), places of secrets (`PASSWORD=...`, the user part of a URL,
`Authorization:`), and shapes that only tokens have (`ghp_...`, `AKIA...`, JWT, private keys).
Known values are also found where they are written with escapes or broken over lines.
No pattern backtracks far, so hostile text costs time in proportion to its length.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self

from bot import redaction_escapes as escapes
from bot import redaction_rules as rules
from bot.redaction_rules import MASK, SHORTEST, Hints, Span, by_rules, hints_in, userinfo

_HOLD = 4096
_GRAM = 4
_STRIDE = SHORTEST - _GRAM + 1
"""Checking `_GRAM` characters at each `_STRIDE`th place finds every form."""
_LONGEST_ESCAPE = 3
"""Characters for each one of a very long value: `%2f`. A short one may take all of `_HOLD`."""
_LAYERS = 3
"""How many nested escapes are undone: JSON in JSON in a shell command."""


class Redactor:
    """Masks secrets in text. Immutable; safe to share. Its `repr` shows no secret."""

    def __init__(
        self, known: Iterable[str] = (), *, spared: str = "", beside: Self | None = None
    ) -> None:
        """`spared`: not secret, even where it is a known value. `beside`: masks and spares too."""
        values = frozenset(value for value in known if len(value.strip()) >= SHORTEST)
        shared: Sequence[_Table] = ()
        if beside:
            spared = f"{beside.spared}\n{spared}" if spared else beside.spared
            shared = beside.known.tables
            forms = {form for one in shared for same in one.by_gram.values() for _, form in same}
            if any(form in spared for form in forms):
                values, shared = values | beside.values, ()
        forms = {form for value in values for form in rules.forms(value) if form not in spared}
        self.known: _Known = _Known((*shared, _Table.of(forms)))
        self.values: frozenset[str] = values | beside.values if beside else values
        self.spared: str = spared
        longest = max(map(len, self.values), default=0)
        self.hold = max(_HOLD, _LONGEST_ESCAPE * longest)
        """Characters to hold back when a text arrives in parts: no match is longer, or its first
        `hold` characters identify it."""

    def with_known(self, more: Iterable[str], *, spared: str = "") -> Self:
        """Return a redactor that also masks these values, and also spares this text."""
        return type(self)(more, spared=spared, beside=self)

    def text(self, text: str) -> str:
        """Return the text with every secret as `[redacted]`. Only keys lose their lines."""
        spans = self._spans(text)
        return rules.masked(text, spans) if spans else text

    def _spans(self, text: str) -> list[Span]:
        """Find all secrets, in order of `begin`; they may overlap."""
        if not text:
            return []
        found = [*by_rules(text), *self.escaped_userinfo(text), *self.known_in(text)]
        found.sort(key=lambda span: (span.begin, span.end))
        return found

    def known_in(self, text: str) -> list[Span]:
        """Find the known values, however they are written. A span never holds a line's end."""
        return [part for span in self.known.spans(text) for part in _by_line(text, span)]

    def escaped_userinfo(self, text: str) -> Iterator[Span]:
        """Find the user part of each URL that is written with escapes, as in JSON."""
        if _holds_escaped_url(text):
            view = _View(text, escapes.escapes, escapes.plain(text))
            for span in userinfo(view.text):
                yield Span(view.begin(span.begin), view.begin(span.mask), view.end(span.end))

    def head(self, text: str, size: int) -> tuple[str, int, bool]:
        """Mask the beginning of a text that continues, without cutting a secret.

        Only the first `size + hold` characters are read; give as many. Returns the masked head,
        how many characters of `text` it replaces (at least 1), and whether the head ends inside
        a secret that may continue: then drop what follows up to the next white space.
        """
        text = text[: size + self.hold]
        spans = self._spans(text)
        cut = min(size, len(text))
        # Going back to the beginning of one secret may land inside the one before it.
        for span in reversed(spans):
            if span.begin < cut < span.end:
                cut = span.begin
        if cut > 0:
            return rules.masked(text[:cut], [s for s in spans if s.end <= cut]), cut, False
        end = max(s.end for s in spans if s.begin == 0)
        # Secrets that overlap the first one go with it.
        for span in spans:
            if span.begin < end:
                end = max(end, span.end)
        return rules.masked(text[:end], [s for s in spans if s.end <= end]), end, end == len(text)

    def stream(self) -> "RedactedLines":
        """Return a helper for lines that arrive one after another."""
        return RedactedLines(self)


_Parts = Callable[[str], Iterator[tuple[int, int, str]]]


class _View:
    """A text with some of its parts replaced, and where each of its characters was."""

    def __init__(self, text: str, parts: _Parts, now: str) -> None:
        """`parts`: where each one begins and ends, and what is in its place, as in `now`."""
        self._other, self._parts, self.text = text, parts, now

    @cached_property
    def _marks(self) -> tuple[list[int], list[int]]:
        # Pairs: where a part begins, where it ends; here in this text, there in the other.
        here, there, at, done = [0], [0], 0, 0
        for begin, end, new in self._parts(self._other):
            at += begin - done
            here += (at, at + len(new))
            there += (begin, end)
            at += len(new)
            done = end
        return here, there

    def begin(self, at: int) -> int:
        """Where the character at this place begins in the other text."""
        here, there = self._marks
        near = bisect_right(here, at) - 1
        return there[near] + (0 if near % 2 else at - here[near])

    def end(self, at: int) -> int:
        """Where the character before this place ends in the other text."""
        here, there = self._marks
        near = bisect_right(here, at - 1) - 1
        return there[near + 1] if near % 2 else there[near] + at - here[near]


# Atomic, as everything here: what a margin took is never tried again as a part of the text.
_MARGIN = (
    r"(?>[ \t]*+#\d++ (?:\d++\.\d++ )?|[ \t]*+\d++\.\d++ "
    r"|[ \t]*+(?:\d{4}-\d\d-\d\dT\S{1,30}+ )?[^\s\[\]]{0,60}+\[[\w.]{1,60}\]:?[ \t]++|[ \t|>]*+)"
)
_LINE_END = re.compile(rf"\n{_MARGIN}")
_MARGIN_ONLY = re.compile(_MARGIN)
_LIKE_A_MARGIN = re.compile(rf"(?=.){_MARGIN}(?<=.)", re.DOTALL)
_MOST_LINES_HELD = 100
_LINES_BEFORE = 3


def _holds_escaped_url(text: str) -> bool:
    """Whether the text may hold `://` written with escapes."""
    return ":\\" in text or "%3A%2F" in text or "%3a%2f" in text


def _has_escape(text: str) -> bool:
    """Whether any is in the text."""
    may = "\\" in text or "%" in text or "&" in text or "'\"'" in text
    return may and escapes.ESCAPE.search(text) is not None


def _line_ends(text: str) -> Iterator[tuple[int, int, str]]:
    """Each line's end with blanks and a backslash before it, and the margin of the next line."""
    done = 0
    for end in _LINE_END.finditer(text):
        begin = end.start()
        while begin > done and text[begin - 1] in " \t\r":
            begin -= 1
        if begin > done and text[begin - 1] == "\\":
            begin -= 1
        done = end.end()
        yield begin, done, ""


def _joined(text: str) -> _View:
    edges = [0, *(at for begin, end, _ in _line_ends(text) for at in (begin, end)), len(text)]
    parts = [text[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True)]
    return _View(text, _line_ends, "".join(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Forms of values, to be looked up. A thousand apps share that of the bot's own secrets."""

    by_gram: Mapping[str, Sequence[tuple[int, str]]]
    by_head: Mapping[str, Sequence[str]]
    longest: int
    as_written: bool
    """A form may be like a margin, or hold a line's end: search before lines are joined."""

    @classmethod
    def of(cls, forms: Collection[str]) -> Self:
        """The table of these forms."""
        by_gram: dict[str, list[tuple[int, str]]] = {}
        by_head: dict[str, list[str]] = {}
        for form in forms:
            for at in range(_STRIDE):
                by_gram.setdefault(form[at : at + _GRAM], []).append((at, form))
            if "\n" not in form:
                by_head.setdefault(form[:_GRAM], []).append(form)
        return cls(
            by_gram=by_gram,
            by_head=by_head,
            longest=max(map(len, forms), default=0),
            as_written=any("\n" in one or _LIKE_A_MARGIN.match(one) for one in forms),
        )


class _Known:
    """Finds given forms of values, all at once.

    One regular expression of hundreds of values takes a hundred microseconds a line. Hardly any
    line holds even four characters of one of them, which one microsecond shows.
    """

    def __init__(self, tables: Iterable["_Table"]) -> None:
        self.tables = tuple(table for table in tables if table.by_gram)
        self._longest = max((table.longest for table in self.tables), default=0)
        self._as_written = any(table.as_written for table in self.tables)

    def spans(self, text: str) -> Iterator[Span]:
        """Every form, in every way to read the text. They may overlap."""
        if not self.tables:
            return
        for chain in self._views(text):
            for found in self._in(chain[-1].text if chain else text):
                begin, end = found
                for view in reversed(chain):
                    begin, end = view.begin(begin), view.end(end)
                yield Span(begin, begin, end)

    def _views(self, text: str) -> Iterator[Sequence[_View]]:
        """The ways to read a text: each a chain of views, the first one on the text itself."""
        chain: list[_View] = []
        if self._as_written or "\n" not in text:
            yield chain
        if "\n" in text:
            chain = [_joined(text)]
            yield chain
        for _ in range(_LAYERS):
            last = chain[-1].text if chain else text
            if not _has_escape(last):
                return
            chain = [*chain, _View(last, escapes.escapes, escapes.plain(last))]
            yield chain
            if "\n" in (now := chain[-1].text):
                chain = [*chain, _joined(now)]
                yield chain

    def _in(self, text: str) -> Iterator[tuple[int, int]]:
        grams = [text[at : at + _GRAM] for at in range(0, len(text) - _GRAM + 1, _STRIDE)]
        for by_gram in (table.by_gram for table in self.tables):
            for number, gram in () if by_gram.keys().isdisjoint(grams) else enumerate(grams):
                for offset, form in by_gram.get(gram, ()):
                    begin = number * _STRIDE - offset
                    if begin >= 0 and text.startswith(form, begin):
                        yield begin, begin + len(form)

    def unfinished(self, lines: Sequence[str]) -> int:
        """How many of the last lines a form may begin in that the next line continues."""
        lines = lines[-_MOST_LINES_HELD:]
        if not self.tables:
            return 0
        reach = min(self._longest * _LONGEST_ESCAPE, _HOLD)
        text = escapes.HALF_ESCAPE.sub("", "\n".join(lines)[-reach:].rstrip(" \t\r"))
        first = len(text)
        for chain in self._views(text):
            begin = self._head_at_end(chain[-1].text if chain else text)
            if begin is not None:
                for view in reversed(chain):
                    begin = view.begin(begin)
                first = min(first, begin)
        return 1 + text.count("\n", first) if first < len(text) else 0

    def _head_at_end(self, text: str) -> int | None:
        first = max(0, len(text) - self._longest)
        grams = [text[at : at + _GRAM] for at in range(first, len(text) - _GRAM + 1)]
        begins = (
            at
            for by_head in (table.by_head for table in self.tables)
            if not by_head.keys().isdisjoint(grams)
            for at, gram in enumerate(grams, start=first)
            for form in by_head.get(gram, ())
            if len(form) > len(text) - at and form.startswith(text[at:])
        )
        return min(begins, default=None)


class RedactedLines:
    """Masks whole lines in their order; a private key that spans lines is masked in each."""

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        """May be replaced by one that knows more."""
        self._before: list[str] = []
        """The ends of the lines before: a value may begin there."""
        self._in_key = False
        self._last_body = False
        self._others = 0

    def unfinished(self, texts: Sequence[str]) -> int:
        """How many of the next lines hold a part of a known value that a later one may end."""
        return min(len(texts), self.redactor.known.unfinished((*self._before, *texts)))

    def line(self, text: str) -> str:
        """Mask the next line."""
        return self.lines([text])[0]

    def lines(self, texts: Sequence[str]) -> Sequence[str]:
        """Mask the next lines (without their line ends)."""
        together, first = "\n".join((*self._before, *texts)), len(self._before)
        hints, known = hints_in(together), self._known_by_line(together)
        escaped = _holds_escaped_url(together)
        self._note_last(texts)
        if not hints and not known and not escaped and not self._in_key:
            return texts
        return [
            self._line(text, hints, known.get(number, []), escaped=escaped)
            for number, text in enumerate(texts, start=first)
        ]

    def _known_by_line(self, text: str) -> dict[int, list[Span]]:
        """The known values in each line."""
        spans = self.redactor.known_in(text)
        found: dict[int, list[Span]] = {}
        if spans:
            begins = [0, *(end.end() for end in re.finditer("\n", text))]
            for span in spans:
                number = bisect_right(begins, span.begin) - 1
                begin, end = span.begin - begins[number], span.end - begins[number]
                found.setdefault(number, []).append(Span(begin, begin, end))
        return found

    def _line(self, text: str, hints: Hints, known: list[Span], *, escaped: bool) -> str:
        if self._in_key:
            end = rules.KEY_ENDS.search(text)
            if end is not None:
                self._in_key = False
                prefix = rules.KEY_PREFIX.match(text, 0, end.start())
                before = prefix[0] if prefix else ""
                self._note_key(text[end.end() :])
                return before + MASK + self.redactor.text(text[end.end() :])
            body = rules.KEY_BODY.match(text)
            if body is not None and not body["body"]:
                return text
            if body is not None and self._is_key(body["body"]):
                return body["prefix"] + MASK
            # Neither body nor end: another step's line, or the log only mentioned the marker.
            self._others += 1
            self._in_key = self._others <= rules.PATIENCE
        if hints:
            self._note_key(text)
        spans = [*by_rules(text, hints), *known]
        if escaped:
            spans += self.redactor.escaped_userinfo(text)
        return rules.masked(text, spans) if spans else text

    def _is_key(self, body: str) -> bool:
        """Whether a line belongs to a key. Only its last line is short, as ordinary words are."""
        sure = len(body) >= rules.BODY_SURE or (body.endswith("=") and " " not in body)
        if not sure and (self._others or self._last_body):
            return False
        self._last_body = len(body) < rules.BODY_SHORTEST
        if len(body) >= rules.BODY_SURE:
            self._others = 0
        return True

    def saw(self, text: str) -> None:
        """Note a line that was already masked: a key or a value may have begun in it."""
        self._note_last([text])
        self._note_key(text)

    def _note_last(self, texts: Sequence[str]) -> None:
        ends = [text[-self.redactor.hold :] for text in texts[-_LINES_BEFORE:]]
        self._before = [*self._before, *ends][-_LINES_BEFORE:]

    def _note_key(self, text: str) -> None:
        begins = list(rules.KEY_BEGINS.finditer(text))
        if begins:
            self._in_key = "-----END " not in text[begins[-1].end() :]
            self._last_body, self._others = False, 0


def _by_line(text: str, span: Span) -> Iterator[Span]:
    """The parts of a known value that is broken over lines, without the margin of each."""
    ends = [at for at in range(span.begin, span.end) if text[at] == "\n"]
    for before, end in pairwise([span.begin - 1, *ends, span.end]):
        begin = before + 1
        if begin > span.begin:
            margin = _MARGIN_ONLY.match(text, begin, end)
            begin = margin.end() if margin else begin
        if begin < end:
            yield Span(begin, begin, end)
