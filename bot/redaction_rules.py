"""The patterns of the redaction: places and shapes of secrets.

No pattern backtracks far (possessive quantifiers, context looked up backwards), so hostile text
costs time in proportion to its length.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.redaction_escapes import ESCAPE, unescaped

MASK = "[redacted]"
SHORTEST = 6
"""Known values shorter than this are left alone: they would mask ordinary words."""
_ENCODED_SHORTEST = 8


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
    after: re.Pattern[str] | None = None
    """What must come before, in the same command."""


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
            r"(?:(?:[^-]|-(?!----(?:BEGIN|END) )){0,32768}+"
            r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"|(?:[A-Za-z0-9+/=\s\\:,]|-(?!----BEGIN ))*+))",
        ),
    ),
    _Rule(
        _WORD_HINTS,
        re.compile(
            rf"(?:{_WORDS})(?P<more>[\w.-]{{0,40}}+)(?:\\{{0,4}}+[\"'])?\]?"
            rf"[ \t]{{0,4}}+(?:=>|:=|==?|:)[ \t]{{0,4}}{_VALUE}",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        _WORD_HINTS,
        re.compile(
            rf"(?:(?<![\w-])--?[\w-]{{0,40}}|\b(?:ENV|ARG|export|set)[ \t]{{1,4}}\w{{0,40}})"
            rf"(?:{_WORDS})[\w-]{{0,40}}+[ \t]{{1,4}}{_VALUE}",
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
        re.compile(r"[ \t](?:-u|--user)[ \t=]{0,2}[\"']?[^\s:\"']{1,64}+:(?P<secret>[^\s\"']+)"),
        after=re.compile(r"(?s:.*)(?P<at>)\bcurl\b(?=[^\r\n]*+\Z)"),
    ),
    _Rule(
        ("login", "mysql", "mariadb", "sshpass", "mongo"),
        re.compile(
            r"[ \t]-p[ \t=]?[\"']?(?P<secret>[^\s\"']+)",
        ),
        after=re.compile(
            r"(?s:.*)(?P<at>)\b(?:login|mysql\w{0,10}|mariadb\w{0,10}|sshpass|mongo\w{0,10})"
            r"(?=(?:[ \t][^\r\n|;&]*+)?\Z)"
        ),
    ),
    _Rule(
        ("redis-cli",),
        re.compile(r"[ \t]-a[ \t=]?[\"']?(?P<secret>[^\s\"']+)"),
        after=re.compile(r"(?s:.*)(?P<at>)\bredis-cli(?=(?:[ \t][^\r\n|;&]*+)?\Z)"),
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
        re.compile(r"\blogin[ \t]{1,4}\S{1,100}+[ \t]{1,4}password[ \t]{1,4}(?P<secret>\S+)"),
    ),
    _Rule(
        ("hooks.slack",),
        re.compile(
            r"hooks\.slack(?:-gov)?\.com(?P<slash>\\{0,4}/|%2[fF])"
            r"(?:services|workflows|triggers|commands|actions)(?P=slash)"
            r"(?P<secret>[\w/+%\\-]*[\w/+%-])"
        ),
    ),
    _Rule(
        ("ticket=", "code="),
        # Not the number or the word of an error: `?code=404`, `?code=TS2322`, `?ticket=ABC-12`.
        re.compile(
            r"[?&](?:ticket|code)="
            r"(?!(?:\d{1,4}|[A-Z]{1,10}-?\d{1,6}|[A-Z]+(?:_[A-Z0-9]+)+|[a-z]+(?:_[a-z]+)+"
            r"|[A-Za-z]{1,3})(?![\w.~%/+-]))(?P<secret>[^&\s\"'<>#]+)"
        ),
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


_USERINFO = len(_RULES)
ALL_HINTS = (
    *((hint, place) for place, rule in enumerate(_RULES) for hint in rule.hints),
    ("://", _USERINFO),
)
_REACH = 200
"""So far before a secret its command is looked for."""
_UNEXPECTED = "unexpected "
_USER = re.compile(r"[^\s/\"'<>@:]{0,512}+")
_RUN = re.compile(r"[^\s\"'<>]*+")
# `token.service.ts:41:7`, `passwords_controller.rb:12:in`, `token_test.py::test_expired`.
_SOURCE = re.compile(
    r"\.(?:[cm]?[jt]sx?|vue|svelte|astro|rb|erb|haml|slim|rake|go|pyi?|rs|java|kts?|scala|groovy|php"
    r"|exs?|erl|cs|fs|vb|cc?|cpp|hh?|hpp|mm?|swift|dart|lua|p[lm]|clj[sc]?|hs|elm|cr|nim|zig|jl|sh"
    r"|sql|s?css|less|html?|ya?ml|json5?|toml|xml|proto|graphql|tf)\Z",
    re.IGNORECASE,
)
_POSITION = re.compile(
    r"(?:line\Z|\d{1,6}(?::\d{1,6}(?:-\d{1,6})?)?(?![\w.@$!%*?&+/=-])"
    r"(?::in\b|:?(?!\S)|[^\w:])|:)"
)
_COMPLAINT = re.compile(r"(?:error|warning|warn|fatal|note|info)\b[:,]?\Z")
# `Devise::AccessToken::Error`: a class inside a class.
_CONSTANT = re.compile(r":(?:[A-Z][a-z]+)+(?![\w$@!%*?&+/=-])")
# `bin/rails credentials:edit`, `npm run token:generate`: a task.
_VERB = re.compile(
    r"(?:(?:add|apply|build|check|clean|clear|create|delete|diff|edit|ensure|export|fetch|generate"
    r"|import|init|install|list|lint|migrate|prune|pull|push|refresh|remove|renew|report|reset|revoke"
    r"|rotate|run|seed|set|setup|show|start|sync|test|unset|update|verify|watch)(?:[_:-](?=[a-z])|\b)"
    r"|(?<=[_:-])[a-z]{1,20}\b[_:-]?){1,4}[`'\".,;)\]]{0,3}"
)
_TASKS = re.compile(r"(?:credential|secret)s")
_TASK_VERB = re.compile(r"(?:edit|show|diff|fetch|setup)\b")
_RUNNER = re.compile(
    r"(?:^|[\s/`'\"(;&|])(?:rails|rake|npm|npx|pnpm|yarn|bun|artisan|console|composer|mix|dokku|heroku"
    r"|flask|just|task|thor|invoke|nx|deno|lerna|turbo)"
    r"(?:[ \t]+(?:run|task|exec|--?[\w-]+))*[ \t]+(?:[a-z_-]+:)*[a-z_-]*\Z"
)
_PORT = re.compile(r":\d{1,5}/")
_LONGEST_PASSWORD = 1024
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
        yield from userinfo(text) if place == _USERINFO else _by(_RULES[place], text)


def _by(rule: _Rule, text: str) -> Iterator[Span]:
    groups = rule.pattern.groupindex
    at = 0
    while match := rule.pattern.search(text, at):
        at = match.end()
        name, begin = "secret", match.start()
        if name not in groups:
            name = next(group for group in _VALUE_GROUPS if match[group] is not None)
        if match[name] == MASK:
            continue
        if rule.after is not None:
            reach = max(0, begin - _REACH)
            command = rule.after.match(text, reach, begin)
            if command is None:
                at = match.start(name)  # it may hold another option
                continue
            begin = command.start("at")
        if "more" in groups and _is_spared(text, match, name):
            at = match.start(name)  # what looks like a value may hold a secret itself
            continue
        # What follows the secret (a closing quote, `@`) may come after a cut.
        yield Span(begin, match.start(name), match.end(name))


def userinfo(text: str) -> Iterator[Span]:
    """The user part of each URL. A password may hold `/`, but then it begins with no port."""
    end = 0
    at = text.find("://")
    while at >= 0:
        begin = at + 3
        user = _USER.match(text, begin)
        after = user.end() if user else begin
        at = text.find("://", begin)
        found = -1
        if text.startswith("@", after):
            found = after if after > begin and text[begin:after] != "git" else -1
        elif text.startswith(":", after):
            if end < after:
                run = _RUN.match(text, after)
                end = run.end() if run else after
            most = min(end, after + 2 + _LONGEST_PASSWORD)
            slash = text.find("/", after, most)
            if after > begin:
                found = text.rfind("@", after, slash if slash >= 0 else most)
            if found < 0 and not _PORT.match(text, after):
                found = text.rfind("@", after, most)
        if found >= 0:
            if text[begin:found] != MASK:
                yield Span(begin - 3, begin, found)
            at = text.find("://", found)


def _is_spared(text: str, match: re.Match[str], name: str) -> bool:
    """Whether what looks like a secret's name and value is something else."""
    word, more, value = match.start(), match["more"], match[name]
    if text[max(0, word - len(_UNEXPECTED)) : word].lower() == _UNEXPECTED:
        return True
    if _is_package(more, value):
        return True
    if not text.startswith(":", match.end("more")) or name != "d":
        return False
    touches = match.start(name) == match.end("more") + 1
    if _SOURCE.search(more):
        return (_POSITION if touches else _COMPLAINT).match(value) is not None
    if not touches:
        return False
    if _CONSTANT.match(value):
        return True
    if not _VERB.fullmatch(value):
        return False
    own = _TASKS.fullmatch(text[word : match.end("more")]) and _TASK_VERB.match(value)
    return bool(own or _RUNNER.search(text[max(0, word - _REACH) : word]))


def _is_package(more: str, value: str) -> bool:
    return (more[:1].islower() or more[:1] == "-") and _VERSION.fullmatch(value) is not None


# --- private keys over many lines

# Atomic: what a prefix took is never tried again as a part of the key.
_PREFIX = r"(?>\s*+#\d++ (?:\d++\.\d++ )?|\s*+\d++\.\d++ |\s*+\S{1,60}\[[\w.]{1,60}\]:\s|[\s|>]*+)"
KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
KEY_PREFIX = re.compile(_PREFIX)
KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,40}-----")
KEY_BODY = re.compile(
    rf"^(?P<prefix>{_PREFIX})(?P<body>[A-Za-z0-9+/]{{0,128}}+={{0,3}}+"
    r"|(?:Proc-Type|DEK-Info|Version|Comment):.*+)[\"',\\\s]*+$"
)
BODY_SHORTEST = 20
BODY_SURE = 40
"""A line with this many characters of base64 is not made of words."""
PATIENCE = 50
"""Other lines that may come between those of a key: steps of a build print concurrently."""


def masked(text: str, spans: list[Span]) -> str:
    """Replace what the spans mask by `[redacted]`."""
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


def forms(value: str) -> Iterator[str]:
    """The ways to write a known value: plain, in base64, in hex. Escapes are undone in the text."""
    value = value.strip()
    yield from _spellings(value)
    if "\n" in value:
        # Logs show a multi-line value line by line.
        for line in map(str.strip, value.splitlines()):
            if len(line) >= SHORTEST and "-----" not in line:
                yield from _spellings(line)
    if len(value) >= _ENCODED_SHORTEST:
        data = value.encode(errors="surrogatepass")
        yield from _base64_forms(data)
        plain = (data.hex(), data.hex(" "), data.hex(":"))
        yield from (*plain, *map(str.upper, plain))


def _spellings(value: str) -> Iterator[str]:
    yield from (value, value.replace(" ", "+"), value.replace("'", "''"))  # forms, SQL
    # A value that contains escapes is also secret without them.
    while (bare := ESCAPE.sub(unescaped, value)) != value and len(bare) >= SHORTEST:
        yield bare
        value = bare


def _base64_forms(value: bytes) -> Iterator[str]:
    """The characters that encode only `value`, wherever it begins in the encoded bytes."""
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + value).decode()
        only = slice((8 * offset + 5) // 6, (8 * (offset + len(value))) // 6)
        yield from (whole[only], whole.replace("+", "-").replace("/", "_")[only])
