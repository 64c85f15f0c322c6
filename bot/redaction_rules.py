"""The patterns of the redaction: places and shapes of secrets.

All patterns are bounded or start at a fixed word, so hostile text costs time in proportion to its
length.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MASK = "[redacted]"


@dataclass(frozen=True, slots=True)
class Span:
    """One secret in a text: `begin:end` is the whole match, `mask:end` is masked."""

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
    r"signing[_-]?key|encryption[_-]?key|master[_-]?key|account[_-]?key|credentials?|"
    r"\bdsn|_dsn|[_-]pwd|"
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
            rf"(?<!unexpected )(?:{_WORDS})(?P<more>[\w.-]{{0,40}})(?:\\{{0,4}}[\"'])?\]?"
            rf"[ \t]{{0,4}}(?:=>|:=|==?|:)[ \t]{{0,4}}{_VALUE}",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        _WORD_HINTS,
        re.compile(
            rf"(?:(?<![\w-])--?[\w-]{{0,40}}|\b(?:ENV|ARG|export|set)[ \t]{{1,4}}\w{{0,40}})"
            rf"(?:{_WORDS})[\w-]{{0,40}}[ \t]{{1,4}}{_VALUE}",
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
            r"\b(?i:bearer|basic)[ \t]{1,4}(?:(?=[A-Za-z+/~]{0,200}[0-9._=-])"
            r"|(?=[A-Za-z]{12})(?=[A-Za-z]{0,200}[a-z][A-Z]))(?P<secret>[\w.~+/=-]{8,})",
        ),
    ),
    _Rule(
        ("_key",),
        # In capitals only: `cache_key: ...` is harmless, and frequent.
        re.compile(rf"(?<![A-Za-z0-9])[A-Z][A-Z0-9_]{{0,60}}_KEY[\"']?(?:=|:[ \t]{{0,4}}){_VALUE}"),
    ),
    _Rule(
        ("?", "&"),
        re.compile(
            r"[?&](?:x-amz-(?:signature|security-token|credential)|sig|signature|key|auth)="
            r"(?P<secret>[^&\s\"'<>#]+)",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        ("curl",),
        re.compile(
            r"\bcurl\b[^\r\n]{0,200}?[ \t](?:-u|--user)[ \t=]{0,2}[\"']?[^\s:\"']{1,64}:"
            r"(?P<secret>[^\s\"']+)"
        ),
    ),
    _Rule(
        ("login", "mysql", "mariadb", "sshpass", "mongo"),
        re.compile(
            r"\b(?:login|mysql\w{0,10}|mariadb\w{0,10}|sshpass|mongo\w{0,10})(?=[ \t])"
            r"[^\r\n|;&]{0,200}?[ \t]-p[ \t=]?[\"']?(?P<secret>[^\s\"']+)"
        ),
    ),
    _Rule(
        ("redis-cli",),
        re.compile(
            r"\bredis-cli(?=[ \t])[^\r\n|;&]{0,200}?[ \t]-a[ \t=]?[\"']?(?P<secret>[^\s\"']+)"
        ),
    ),
    _Rule(
        ("password", "identified"),
        re.compile(
            r"\b(?:password|identified[ \t]{1,4}by(?:[ \t]{1,4}password)?)[ \t]{1,4}[\"']"
            r"(?P<secret>[^\"'\r\n]+)",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        ("password",),
        re.compile(r"\blogin[ \t]{1,4}\S{1,100}[ \t]{1,4}password[ \t]{1,4}(?P<secret>\S+)"),
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
    _Rule(
        ("shp", "hvs.", "hvb.", "age-secret-key-1", "lin_api_", "rubygems_", "ya29.", "pmak-"),
        re.compile(
            r"(?P<secret>shp(?:at|ca|pa|ss)_[0-9a-fA-F]{20,}|hv[sb]\.[\w-]{20,}"
            r"|AGE-SECRET-KEY-1[0-9A-Z]{20,}|lin_api_\w{20,}|rubygems_[0-9a-f]{20,}"
            r"|ya29\.[\w-]{20,}|PMAK-[\w-]{20,})"
        ),
    ),
    _Rule((":aa",), re.compile(r"(?<!\d)(?P<secret>\d{8,10}:AA[\w-]{30,})")),
    _Rule(("sg.",), re.compile(r"(?<![\w.-])(?P<secret>SG\.[\w-]{16,}\.[\w-]{16,})")),
)
_VALUE_GROUPS = ("a", "b", "c", "d")


ALL_HINTS = tuple((hint, place) for place, rule in enumerate(_RULES) for hint in rule.hints)
# `tokenizers==0.13.3`, `"js-tokens": "^4.0.0"`: a package with a secret-like name.
_VERSION = re.compile(r"[\^~<>=v]{0,3}\d+(?:\.\d+){1,3}(?:-[a-z]+[.\d]*)?[,;]?")


Hints = tuple[tuple[str, int], ...]
"""Hints (lower case), each with the index of its rule."""


def hints_in(text: str) -> Hints:
    """Find the hints that occur in a text; its parts hold no others."""
    lowered = text.lower()
    return tuple(one for one in ALL_HINTS if one[0] in lowered)


def by_rules(text: str, hints: Hints = ALL_HINTS) -> Iterator[Span]:
    """Find secrets, rule by rule. `hints`: those that may occur in the text."""
    if not hints:
        return
    lowered = text.lower()
    places = {place for hint, place in hints if hint in lowered}
    for place in sorted(places):
        yield from _by(_RULES[place], text)


def _by(rule: _Rule, text: str) -> Iterator[Span]:
    groups = rule.pattern.groupindex
    for match in rule.pattern.finditer(text):
        name = "secret"
        if name not in groups:
            name = next(group for group in _VALUE_GROUPS if match[group] is not None)
        if match[name] == MASK or ("more" in groups and _is_package(match["more"], match[name])):
            continue
        # What follows the secret (a closing quote, `@`) may come after a cut.
        yield Span(match.start(), match.start(name), match.end(name))


def _is_package(more: str, value: str) -> bool:
    return (more[:1].islower() or more[:1] == "-") and _VERSION.fullmatch(value) is not None
