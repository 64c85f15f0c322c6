"""Masks secrets in every text that is printed, logged, sent or stored.

Three layers: values that we know (settings), places where secrets stand (`PASSWORD=...`, the user
part of a URL, `Authorization:`), and shapes that only tokens have (`ghp_...`, `AKIA...`, JWT,
private keys). All patterns are bounded or start at a fixed word, so that hostile text costs
time in proportion to its length.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
SHORTEST = 6
"""Known values shorter than this are left alone: they would mask ordinary words."""

_ENCODED_SHORTEST = 8
_HOLD = 4096


@dataclass(frozen=True, slots=True)
class Span:
    """One secret in a text: `begin:end` is all that made it recognisable, `mask:end` is hidden."""

    begin: int
    mask: int
    end: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern with a group `secret`; tried only where one of the (lower-case) hints occurs."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


_WORDS = (
    r"pass(?:word|wd|phrase|code)|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|"
    r"signing[_-]?key|encryption[_-]?key|master[_-]?key|credentials?|\bdsn|_dsn|[_-]pwd|"
    r"[_-]pass(?=[\"'\s:=])|[_-]auth(?=[\"'\s:=])|\"auth(?=\")"
)
_WORD_HINTS = ("pass", "secret", "token", "key", "credential", "dsn", "pwd", "auth")
# A quoted value may contain blanks; without its closing quote everything to the line's end goes.
_VALUE = (
    r"(?:\\{1,4}[\"'](?P<a>[^\"'\\\r\n]+)|\"(?P<b>(?:[^\"\\\r\n]|\\.)+)"
    r"|'(?P<c>[^'\r\n]+)|(?P<d>\S+))"
)

_RULES: tuple[_Rule, ...] = (
    _Rule(
        ("private key",),
        re.compile(
            # Up to its end marker; without one, as far as it looks like a key. It stops at the
            # next marker, so that many begins without an end cost no more than one.
            r"(?P<secret>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:[^-]|-(?!----(?:BEGIN|END) )){0,32768}"
            r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"|(?:[A-Za-z0-9+/=\s\\:,]|-(?!----BEGIN ))*))",
        ),
    ),
    _Rule(
        _WORD_HINTS,
        re.compile(
            rf"(?<!unexpected )(?:{_WORDS})[\w.-]{{0,40}}(?:\\{{0,4}}[\"'])?\]?"
            rf"[ \t]{{0,4}}(?:=>|:=|==?|:)[ \t]{{0,4}}{_VALUE}",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        _WORD_HINTS,
        re.compile(
            rf"(?:--?[\w-]{{0,40}}|\b(?:ENV|ARG|export|set)[ \t]{{1,4}}\w{{0,40}})(?:{_WORDS})"
            rf"[\w-]{{0,40}}[ \t]{{1,4}}{_VALUE}",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        ("authorization", "cookie"),
        re.compile(
            r"(?:authorization|set-cookie|cookie)(?:\\{0,4}[\"'])?[ \t]{0,4}[:=][ \t]{0,4}"
            r"(?:\\{0,4}[\"'])?(?:(?:bearer|basic|token|digest|negotiate)[ \t]{1,4})?"
            r"(?P<secret>[^\"'\r\n]+)",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        ("bearer ", "basic "),
        re.compile(
            r"\b(?:bearer|basic)[ \t]{1,4}(?=[A-Za-z+/~]{0,200}[0-9._=-])"
            r"(?P<secret>[\w.~+/=-]{8,})",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        ("://",),
        re.compile(
            r"://(?P<secret>(?!git@)[^\s/\"'<>@:]{1,512}(?::[^\s/\"'<>]{0,1024})?"
            r"|[^\s/\"'<>@:]{0,512}:(?!\d{1,5}/)[^\s\"'<>]{0,1024})@"
        ),
    ),
    _Rule(
        ("hooks.slack.com/",),
        re.compile(r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[\w/+-]+)"),
    ),
    _Rule(("xox",), re.compile(r"(?P<secret>xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{6,})")),
    _Rule(("xapp-",), re.compile(r"(?P<secret>xapp-[A-Za-z0-9-]{8,})")),
    _Rule(("gh", "github_pat_"), re.compile(r"(?P<secret>(?:gh[pousr]|github_pat)_\w{16,})")),
    _Rule(
        ("gl",), re.compile(r"(?P<secret>gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat)-[\w.-]{16,})")
    ),
    _Rule(
        ("akia", "asia"),
        re.compile(r"(?<![A-Za-z0-9])(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{12,})"),
    ),
    _Rule(("aiza",), re.compile(r"(?P<secret>AIza[\w-]{30,})")),
    _Rule(("sk-",), re.compile(r"(?<![A-Za-z0-9])(?P<secret>sk-[\w-]{20,})")),
    _Rule(
        ("k_live_", "k_test_"),
        re.compile(r"(?P<secret>[srp]k_(?:live|test)_[A-Za-z0-9]{12,})"),
    ),
    _Rule(("whsec_",), re.compile(r"(?P<secret>whsec_[\w+/=-]{8,})")),
    _Rule(("eyj",), re.compile(r"(?<![\w-])(?P<secret>eyJ[\w-]{16,}(?:\.[\w-]*)*)")),
    _Rule(
        ("npm_", "pypi-", "hf_", "dckr_", "dop_v1_", "sntry"),
        re.compile(
            r"(?P<secret>npm_[A-Za-z0-9]{20,}|pypi-[\w-]{20,}|hf_[A-Za-z0-9]{20,}"
            r"|dckr_(?:pat|oat)_[\w-]{16,}|dop_v1_[0-9a-f]{20,}|sntry[a-z]_[\w+/=-]{20,})"
        ),
    ),
    _Rule(("sg.",), re.compile(r"(?<![\w.-])(?P<secret>SG\.[\w-]{16,}\.[\w-]{16,})")),
)
_VALUE_GROUPS = ("a", "b", "c", "d")


class Redactor:
    """Masks secrets in text. Immutable; safe to share."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = frozenset(value for value in known if len(value.strip()) >= SHORTEST)
        forms = sorted({form for value in self._known for form in _forms(value)}, key=len)
        forms.reverse()
        self._pattern = re.compile("|".join(map(re.escape, forms))) if forms else None
        self.hold = max(_HOLD, 2 * len(forms[0]) if forms else 0)
        """Characters to keep back when a text arrives in parts (no match is longer, or it is
        recognised by its first `hold` characters)."""

    def with_known(self, more: Iterable[str]) -> Self:
        """A redactor that knows these values too."""
        return type(self)(self._known | frozenset(more))

    def text(self, text: str) -> str:
        """The text with every secret replaced by `[redacted]`. Lines are kept, but for keys."""
        return _masked(text, self.spans(text))

    def spans(self, text: str) -> list[Span]:
        """All secrets found, in order of `begin`; they may overlap."""
        if not text:
            return []
        lowered = text.lower()
        found = [span for rule in _RULES if _hinted(rule, lowered) for span in _by(rule, text)]
        found += self._known_in(text)
        found.sort(key=lambda span: (span.begin, span.end))
        return found

    def head(self, text: str, size: int) -> tuple[str, int, bool]:
        """Mask the first characters of a text that goes on, without cutting any secret.

        Only the first `size + hold` characters are looked at; give as many. Returns the masked
        head, how many characters of `text` it stands for (at least 1), and whether the head
        ends inside a secret that may go on: then drop what follows up to the next white space.
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
        """A helper for lines that arrive one after another."""
        return RedactedLines(self)

    def _known_in(self, text: str) -> Iterator[Span]:
        if self._pattern is None:
            return
        match = self._pattern.search(text)
        while match is not None:
            yield Span(match.start(), match.start(), match.end())
            # One value may begin inside another; its tail must not stay readable.
            match = self._pattern.search(text, match.start() + 1)


_PREFIX = r"(?:\s*#\d+ (?:\d+\.\d+ )?|\s*\d+\.\d+ |\s*\S{1,60}\[[\w.]{1,60}\]:\s|[\s|>]*)"
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(
    rf"^(?P<prefix>{_PREFIX}).*?-----END [A-Z0-9 ]{{0,40}}PRIVATE KEY[A-Z ]*-----"
)
_KEY_BODY = re.compile(
    rf"^(?P<prefix>{_PREFIX})(?P<body>[A-Za-z0-9+/]{{0,128}}={{0,3}}"
    r"|(?:Proc-Type|DEK-Info|Version|Comment):.*)[\"',\\\s]*$"
)
_BODY_SHORTEST = 20


class RedactedLines:
    """Masks whole lines in their order; a private key that spans lines is masked in each."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._in_key = False
        self._last_body = False

    def line(self, text: str) -> str:
        """Mask the next line (without its line end)."""
        if self._in_key:
            end = _KEY_ENDS.match(text)
            if end is not None:
                self._in_key = False
                return end["prefix"] + MASK + self.line(text[end.end() :])
            body = _KEY_BODY.match(text)
            if body is not None and not body["body"]:
                return text
            # Only the last line of a key is short; words of an ordinary log are, too.
            if body is not None and not self._last_body:
                self._last_body = len(body["body"]) < _BODY_SHORTEST
                return body["prefix"] + MASK
            # Neither body nor end: a log merely named the marker, or the key was cut off.
            self._in_key = False
        self.saw(text)
        return self._redactor.text(text)

    def saw(self, text: str) -> None:
        """Take note of a line that was masked elsewhere: a key may have begun in it."""
        begins = list(_KEY_BEGINS.finditer(text))
        if begins:
            self._in_key = "-----END " not in text[begins[-1].end() :]
            self._last_body = False


def _hinted(rule: _Rule, lowered: str) -> bool:
    return any(hint in lowered for hint in rule.hints)


def _by(rule: _Rule, text: str) -> Iterator[Span]:
    groups = rule.pattern.groupindex
    for match in rule.pattern.finditer(text):
        name = "secret"
        if name not in groups:
            name = next(group for group in _VALUE_GROUPS if match[group] is not None)
        if match[name] == MASK:
            continue
        # What follows the secret (a closing quote, `@`) may stand after a cut.
        yield Span(match.start(), match.start(name), match.end(name))


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
    """A known value as it may be written: plain, URL-encoded, JSON-escaped, in base64."""
    value = value.strip()
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    yield quote(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    if "\n" in value:
        yield value.replace("\n", "\\n")
        # Logs show a value of many lines line by line.
        yield from (
            line.strip()
            for line in value.splitlines()
            if len(line.strip()) >= 2 * _ENCODED_SHORTEST and "-----" not in line
        )
    if len(value) >= _ENCODED_SHORTEST:
        yield from _base64_forms(value.encode())


def _base64_forms(value: bytes) -> Iterator[str]:
    """The characters that stand for `value` alone, wherever it begins in the encoded bytes."""
    for offset in range(3):
        head = bytes(offset)
        whole = base64.b64encode(head + value).decode()
        first = (8 * offset + 5) // 6
        last = (8 * (offset + len(value))) // 6
        for text in (whole, whole.replace("+", "-").replace("/", "_")):
            yield text[first:last]
