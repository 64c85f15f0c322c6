"""Masks secrets in every text that is printed, logged, sent or stored.

Three layers: known values (settings), places of secrets (`PASSWORD=...`, the user part of a URL,
`Authorization:`), and shapes that only tokens have (`ghp_...`, `AKIA...`, JWT, private keys).
No pattern backtracks far, so hostile text costs time in proportion to its length.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, quote_plus

from bot.redaction_rules import ALL_HINTS, MASK, Hints, Span, by_rules, hints_in

SHORTEST = 6
"""Known values shorter than this are left alone: they would mask ordinary words."""

_ENCODED_SHORTEST = 8
_HOLD = 4096
_GRAM = 4
_STRIDE = SHORTEST - _GRAM + 1
"""Checking `_GRAM` characters at each `_STRIDE`th place finds every form."""


class Redactor:
    """Masks secrets in text. Immutable; safe to share. Its `repr` shows no secret."""

    def __init__(self, known: Iterable[str] = (), *, spared: str = "") -> None:
        """`spared`: text that is not secret, even where it is a known value."""
        self._values = frozenset(value for value in known if len(value.strip()) >= SHORTEST)
        self._spared = spared
        forms = {form for value in self._values for form in _forms(value) if form not in spared}
        self._known = _Known(forms)
        self.hold = max(_HOLD, 2 * max(map(len, forms), default=0))
        """Characters to hold back when a text arrives in parts: no match is longer, or its first
        `hold` characters identify it."""

    def with_known(self, more: Iterable[str], *, spared: str = "") -> Self:
        """Return a redactor that also masks these values, and also spares this text."""
        return type(self)(
            self._values | frozenset(more),
            spared=f"{self._spared}\n{spared}" if spared else self._spared,
        )

    def text(self, text: str, sieve: "Sieve | None" = None) -> str:
        """Return the text with every secret replaced by `[redacted]`. Only keys lose their lines.

        `sieve`: that of a text which contains this one.
        """
        spans = self.spans(text, sieve)
        return _masked(text, spans) if spans else text

    def sieve(self, text: str) -> "Sieve":
        """Check a text once for everything that may be found in its parts."""
        return Sieve(hints=hints_in(text), known=self._known.may_be_in(text))

    def spans(self, text: str, sieve: "Sieve | None" = None) -> list[Span]:
        """Find all secrets, in order of `begin`; they may overlap."""
        if not text:
            return []
        sieve = sieve or EVERYTHING
        found = [*by_rules(text, sieve.hints)]
        if sieve.known:
            found += self._known.spans(text)
        found.sort(key=lambda span: (span.begin, span.end))
        return found

    def head(self, text: str, size: int) -> tuple[str, int, bool]:
        """Mask the beginning of a text that continues, without cutting a secret.

        Only the first `size + hold` characters are read; give as many. Returns the masked head,
        how many characters of `text` it replaces (at least 1), and whether the head ends inside
        a secret that may continue: then drop what follows up to the next white space.
        """
        text = text[: size + self.hold]
        spans = self.spans(text)
        cut = min(size, len(text))
        # Going back to the beginning of one secret may land inside the one before it.
        for span in reversed(spans):
            if span.begin < cut < span.end:
                cut = span.begin
        if cut > 0:
            return _masked(text[:cut], [s for s in spans if s.end <= cut]), cut, False
        end = max(s.end for s in spans if s.begin == 0)
        # Secrets that overlap the first one go with it.
        for span in spans:
            if span.begin < end:
                end = max(end, span.end)
        return _masked(text[:end], [s for s in spans if s.end <= end]), end, end == len(text)

    def stream(self) -> "RedactedLines":
        """Return a helper for lines that arrive one after another."""
        return RedactedLines(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """What may occur in the parts of a text; nothing else needs to be searched for."""

    hints: Hints
    """Those hints of the rules that occur in it."""
    known: bool
    """A known value may occur in it."""

    @property
    def lets_all_pass(self) -> bool:
        """Whether it holds no secret."""
        return not self.hints and not self.known


EVERYTHING = Sieve(hints=ALL_HINTS, known=True)


class _Known:
    """Finds given forms of values, all at once.

    One regular expression of hundreds of values takes a hundred microseconds a line. Hardly any
    line holds even four characters of one of them, which one microsecond shows.
    """

    def __init__(self, forms: Iterable[str]) -> None:
        self._by_head: dict[str, list[str]] = {}
        for form in sorted(forms, key=len, reverse=True):
            self._by_head.setdefault(form[:_GRAM], []).append(form)
        self._grams = frozenset(
            form[at : at + _GRAM]
            for alike in self._by_head.values()
            for form in alike
            for at in range(_STRIDE)
        )

    def may_be_in(self, text: str) -> bool:
        """Whether the text holds four characters of one of them."""
        return bool(self._grams) and not self._grams.isdisjoint(
            [text[at : at + _GRAM] for at in range(0, len(text), _STRIDE)]
        )

    def spans(self, text: str) -> Iterator[Span]:
        """The longest form at each place. They may overlap: one value may begin in another."""
        if not self.may_be_in(text):
            return
        for at in range(len(text) - SHORTEST + 1):
            for form in self._by_head.get(text[at : at + _GRAM], ()):
                if text.startswith(form, at):
                    yield Span(at, at, at + len(form))
                    break


# Atomic, as everything here: what a prefix took is never tried again as a part of the key.
_PREFIX = r"(?>\s*+#\d++ (?:\d++\.\d++ )?|\s*+\d++\.\d++ |\s*+\S{1,60}\[[\w.]{1,60}\]:\s|[\s|>]*+)"
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_PREFIX = re.compile(_PREFIX)
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,40}-----")
_KEY_BODY = re.compile(
    rf"^(?P<prefix>{_PREFIX})(?P<body>[A-Za-z0-9+/]{{0,128}}+={{0,3}}+"
    r"|(?:Proc-Type|DEK-Info|Version|Comment):.*+)[\"',\\\s]*+$"
)
_BODY_SHORTEST = 20
_BODY_SURE = 40
"""A line with this many characters of base64 is not made of words."""
_PATIENCE = 50
"""Other lines that may come between those of a key: steps of a build print concurrently."""


class RedactedLines:
    """Masks whole lines in their order; a private key that spans lines is masked in each."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._in_key = False
        self._last_body = False
        self._others = 0

    def lines(self, texts: Sequence[str]) -> Sequence[str]:
        """Mask the next lines (without their line ends)."""
        sieve = self._redactor.sieve("\n".join(texts))
        if sieve.lets_all_pass and not self._in_key:
            return texts
        return [self.line(text, sieve) for text in texts]

    def line(self, text: str, sieve: Sieve = EVERYTHING) -> str:
        """Mask the next line. `sieve`: that of a text which contains it."""
        if self._in_key:
            end = _KEY_ENDS.search(text)
            if end is not None:
                self._in_key = False
                prefix = _KEY_PREFIX.match(text, 0, end.start())
                before = prefix[0] if prefix else ""
                return before + MASK + self.line(text[end.end() :], sieve)
            body = _KEY_BODY.match(text)
            if body is not None and not body["body"]:
                return text
            if body is not None and self._is_key(body["body"]):
                return body["prefix"] + MASK
            # Neither body nor end: another step's line, or the log only mentioned the marker.
            self._others += 1
            self._in_key = self._others <= _PATIENCE
        if sieve.hints:
            self.saw(text)
        return self._redactor.text(text, sieve)

    def _is_key(self, body: str) -> bool:
        """Whether a line belongs to a key. Only its last line is short, as ordinary words are."""
        sure = len(body) >= _BODY_SURE or (body.endswith("=") and " " not in body)
        if not sure and (self._others or self._last_body):
            return False
        self._last_body = len(body) < _BODY_SHORTEST
        if len(body) >= _BODY_SURE:
            self._others = 0
        return True

    def saw(self, text: str) -> None:
        """Note a line that was already masked: a key may have begun in it."""
        begins = list(_KEY_BEGINS.finditer(text))
        if begins:
            self._in_key = "-----END " not in text[begins[-1].end() :]
            self._last_body = False
            self._others = 0


def _masked(text: str, spans: list[Span]) -> str:
    parts: list[str] = []
    done = 0
    for span in sorted(spans, key=lambda span: (span.mask, span.end)):
        if span.end <= done:
            continue
        if span.mask >= done:
            parts += (text[done : span.mask], MASK)
        done = span.end
    parts.append(text[done:])
    return "".join(parts)


def _forms(value: str) -> Iterator[str]:
    """The ways to write a known value: plain, URL-encoded, JSON-escaped, in base64."""
    value = value.strip()
    yield from _spellings(value)
    if "\n" in value:
        yield value.replace("\n", "\\n")
        # Logs show a multi-line value line by line.
        for line in map(str.strip, value.splitlines()):
            if len(line) >= SHORTEST and "-----" not in line:
                yield from _spellings(line)
    if len(value) >= _ENCODED_SHORTEST:
        yield from _base64_forms(value.encode())


def _spellings(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    yield quote(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]


def _base64_forms(value: bytes) -> Iterator[str]:
    """The characters that encode only `value`, wherever it begins in the encoded bytes."""
    for offset in range(3):
        head = bytes(offset)
        whole = base64.b64encode(head + value).decode()
        first = (8 * offset + 5) // 6
        last = (8 * (offset + len(value))) // 6
        for text in (whole, whole.replace("+", "-").replace("/", "_")):
            yield text[first:last]
