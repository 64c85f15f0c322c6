import base64
import html
import json
import re
import shlex
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.dokku.stream import OutputReader
from bot.redaction import Redactor
from bot.redaction_rules import MASK

KNOWN = "hunter2-is-secret"
KEY = "\n".join(
    ["-----BEGIN OPENSSH PRIVATE KEY-----"]
    + ["b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"] * 4
    + ["QyNTUxOQAA==", "-----END OPENSSH PRIVATE KEY-----"]
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("PASSWORD=foo", "PASSWORD=[redacted]"),
        ("export DB_PASSWORD='hello world' x", "export DB_PASSWORD='[redacted]' x"),
        ('{"api_key": "abc def", "a": 1}', '{"api_key": "[redacted]", "a": 1}'),
        (r'"{\"password\":\"abc\"}"', r'"{\"password\":\"[redacted]\"}"'),
        ("env['SECRET_KEY'] = 'zzz'", "env['SECRET_KEY'] = '[redacted]'"),
        ("#5 [2/4] ENV NPM_TOKEN abc", "#5 [2/4] ENV NPM_TOKEN [redacted]"),
        ("login --password x -v", "login --password [redacted] -v"),
        ("login --token=x -v", "login --token=[redacted] -v"),
        ("mysql MYSQL_PWD=abc PWD=/app", "mysql MYSQL_PWD=[redacted] PWD=/app"),
        ("DOKKU_LAB_PASS=unmasked", "DOKKU_LAB_PASS=[redacted]"),
        ("SENTRY_DSN=https://a@b/1", "SENTRY_DSN=[redacted]"),
        ("git clone https://me:pw@host/x", "git clone https://[redacted]@host/x"),
        ("from https://4b825dc642cb@host/x", "from https://[redacted]@host/x"),
        ("redis://:p/w@host:6379/0", "redis://[redacted]@host:6379/0"),
        ("> Authorization: Basic dTpw", "> Authorization: Basic [redacted]"),
        ("-H 'Authorization: Bearer a.b' x", "-H 'Authorization: Bearer [redacted]' x"),
        ("Cookie: a=b; c=d", "Cookie: [redacted]"),
        ("sent Bearer abcdefgh1 there", "sent Bearer [redacted] there"),
        (
            "https://hooks.slack.com/services/T1/B1/abc",
            "https://hooks.slack.com/services/[redacted]",
        ),
        ("key AKIAIOSFODNN7EXAMPLE.", "key [redacted]."),
        ("is ghp_abcdefghijklmnopqrst ok", "is [redacted] ok"),
        ("github_pat_11ABCDEFG0abcdefghij_k", "[redacted]"),
        ("glpat-abcdefghij0123456789", "[redacted]"),
        ("xoxb-123456-abcdef", "[redacted]"),
        ("xapp-1-A0-123-abcdef", "[redacted]"),
        ("sk-abcdefghijklmnopqrstuvwx", "[redacted]"),
        ("sk_live_abcdefghijklmnop", "[redacted]"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "[redacted]"),
        ("npm_abcdefghijklmnopqrstuvwxyz", "[redacted]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "[redacted]"),
        ('"auth": "dXNlcjpwYXNz"', '"auth": "[redacted]"'),
        ("password: hunter2", "password: [redacted]"),
        ("password:hunter2", "password:[redacted]"),
        ("password:edit", "password:[redacted]"),
        ("token:41:7", "token:[redacted]"),
        ("token.ts: hunter2", "token.ts: [redacted]"),
        ("token.ts:41hunter2", "token.ts:[redacted]"),
        ("password.txt:123456", "password.txt:[redacted]"),
        ("token::Abc123def", "token:[redacted]"),
        ("npm run seed password=edit", "npm run seed password=[redacted]"),
        ("mysql -p a -h b -pc", "mysql -p [redacted] -h b -p[redacted]"),
        ("redis://bot:pa/ss@host/0", "redis://[redacted]@host/0"),
        ("  db_password: '1.2.3'", "  db_password: '[redacted]'"),
        ("STRIPE_KEY=abc", "STRIPE_KEY=[redacted]"),
        ("APP_KEY: base64:Zm9v", "APP_KEY: [redacted]"),
        ("AccountName=a;AccountKey=Zm9v==;x", "AccountName=a;AccountKey=[redacted]"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = [redacted]"),
        ("_authToken=abc", "_authToken=[redacted]"),
        ("got Basic dXNlcjpwYXNz", "got Basic [redacted]"),
        ("GET /a?x=1&sig=ab%2Fc&y=2", "GET /a?x=1&sig=[redacted]&y=2"),
        ("/b?X-Amz-Signature=abc x", "/b?X-Amz-Signature=[redacted] x"),
        ("curl -fsS -u me:pw https://h/x", "curl -fsS -u me:[redacted] https://h/x"),
        ("docker login -u me -p pw host", "docker login -u me -p [redacted] host"),
        ("mysql -u root -phunter2 app", "mysql -u root -p[redacted] app"),
        ("redis-cli -h h -a pw PING", "redis-cli -h h -a [redacted] PING"),
        ("machine h login me password pw", "machine h login me password [redacted]"),
        ("CREATE USER a PASSWORD 'b c';", "CREATE USER a PASSWORD '[redacted]';"),
        ("IDENTIFIED BY 'b c';", "IDENTIFIED BY '[redacted]';"),
        ("shpat_0123456789abcdef0123456789abcdef", "[redacted]"),
        ("hvs.CAESIJabcdefghijklmnopqr", "[redacted]"),
        ("bot 123456789:AAabcdefghijklmnopqrstuvwxyz01234 x", "bot [redacted] x"),
    ],
)
def test_masks_what_looks_like_a_secret(before: str, after: str) -> None:
    assert Redactor().text(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "-----> Building web from Dockerfile",
        "#9 [5/9] RUN npm ci",
        "SyntaxError: Unexpected token: punc (})",
        "--- PASS: TestDeploy (0.00s)",
        "http://localhost:3000/@vite/client",
        "ssh://git@host.example/acme/web.git",
        "git@host.example:acme/web.git",
        "Basic authentication is required",
        "webpack-disk-cache-plugin-something-long",
        "monkey=banana",
        "=====> Start of web container output (0259c23be0fc web.1)",
        "b9f1c0a5e7d04b9f8c1d2e3f4a5b6c7d8e9f0a1b",
        "Collecting tokenizers==0.13.3",
        '    "js-tokens": "^4.0.0",',
        "Requirement already satisfied: secretstorage==3.3.3 in /usr/lib",
        "npm warn deprecated passport-local@1.0.0: use another one",
        "cache_key: views/home-3f2a",
        "mkdir -p /var/lib/mysql && mysql --version",
        "Basic TypeScript project",
        "namespace/my-app-secret created",
        "curl -fsSL https://deb.nodesource.com/setup_22.x -o setup",
        "Reset the password of your account",
        "Warning: password authentication is off",
        "GET /search?query=keys&page=2 200",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHq host",
        "Adding password-hashing middleware ... done",
        *(
            "src/token.service.ts:41:7",
            "at f (/app/token.service.ts:41:7)",
            "passwords_controller.rb:12:in `create'",
            "/app/passwords_controller.rb:12:in",
            "token.go:12:9: undefined: x",
            "token.ts:3:7-10",
            "/app/token.go:12 +0x1d",
            "at app.TokenService.get(TokenService.java:41)",
            "lib/token.ex:12: App.Token.verify/2",
            "tests/test_token.py::test_expired PASSED",
            "app/models/token.rb: warning: unused variable",
            "Devise::AccessToken::Error: expired",
            "bin/rails credentials:edit",
            "Run `bin/rails credentials:edit` first",
            "Don't know how to build task 'credentials:edit'",
            "bundle exec rake secrets:setup RAILS_ENV=production",
            "npm run token:generate",
        ),
        "Get:4 http://deb.debian.org/debian bookworm/main amd64 login amd64 1:4.13 [617 kB]",
    ],
)
def test_leaves_ordinary_lines_alone(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "form",
    [
        KNOWN,
        quote("p@ss/word with blanks", safe=""),
        json.dumps('say "hi" to\tall')[1:-1],
        base64.b64encode(KNOWN.encode()).decode(),
    ],
)
def test_masks_known_values_in_other_spellings(form: str) -> None:
    redactor = Redactor([KNOWN, "p@ss/word with blanks", 'say "hi" to\tall'])
    assert form not in redactor.text(f"got {form} here")
    assert redactor.text(f"got {form} here").startswith(f"got {MASK}")


@pytest.mark.parametrize("user", ["u", "me", "you"])
def test_masks_a_known_value_inside_base64(user: str) -> None:
    encoded = base64.b64encode(f"{user}:{KNOWN}:end".encode()).decode()
    shown = Redactor([KNOWN]).text(encoded)
    assert MASK in shown
    left = base64.b64decode((shown.partition(MASK)[0] + "====")[: len(user) // 3 * 4 + 4])
    assert KNOWN[:3].encode() not in left


def test_short_known_values_are_ignored_and_more_can_be_added() -> None:
    redactor = Redactor(["web", ""])
    assert redactor.text("web") == "web"
    assert redactor.with_known(["web-app"]).text("my web-app") == f"my {MASK}"
    assert redactor.text("my web-app") == "my web-app"


def test_spared_text_is_not_masked() -> None:
    redactor = Redactor(["deployed", "hunter2-is-secret"], spared="Application deployed:")
    assert redactor.text("deployed hunter2-is-secret") == f"deployed {MASK}"
    more = redactor.with_known(["Releasing", "another-secret"], spared="-----> Releasing web...")
    assert more.text("Releasing deployed another-secret") == f"Releasing deployed {MASK}"


WORDS = st.text(alphabet="abc -\n", min_size=6, max_size=12)


@given(st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3), WORDS, st.data())
def test_values_added_later_are_masked_as_those_from_the_start(
    first: list[str], later: list[str], spared: str, data: st.DataObject
) -> None:
    together = Redactor([*first, *later], spared=spared)
    added = Redactor(first).with_known(later, spared=spared)
    parts = st.sampled_from([*first, *later, spared, "abc", "%2d", "\n", "-"])
    text = "".join(data.draw(st.lists(parts, max_size=6)))
    assert added.text(text) == together.text(text)
    lines = text.split("\n")
    assert added.stream().lines(lines) == together.stream().lines(lines)
    assert added.stream().unfinished(lines) == together.stream().unfinished(lines)


def test_apps_share_what_is_known_of_the_bots_own_secrets() -> None:
    own = Redactor([KNOWN, KEY])
    apps = [own.with_known([f"secret-of-{name}"], spared=f"Releasing {name}") for name in "abc"]
    assert {id(app.known.tables[0]) for app in apps} == {id(own.known.tables[0])}


def test_a_repr_shows_no_value() -> None:
    redactor = Redactor([KNOWN])
    assert KNOWN not in repr(redactor) + repr(redactor.stream()) + str(redactor)


@pytest.mark.parametrize("line", ["abcdef", "short-line"])
def test_each_line_of_a_known_value_is_known(line: str) -> None:
    redactor = Redactor([f"first-line\n{line}\nlast-line"])
    assert redactor.text(f"#8 1.2 {line} there") == f"#8 1.2 {MASK} there"


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="abc-", min_size=6, max_size=12), min_size=1, max_size=5),
    st.text(alphabet="abc-", max_size=60),
)
def test_known_values_are_found_everywhere(values: list[str], text: str) -> None:
    shown = Redactor(values).text(text)
    assert not [value for value in values if len(value.strip()) >= 6 and value in shown]


def test_known_values_that_overlap_leave_no_tail() -> None:
    assert Redactor(["abcdefgh", "efghijkl"]).text("-abcdefghijkl-") == f"-{MASK}-"


@pytest.mark.parametrize("prefix", ["", "#8 0.176 ", "       "])
def test_a_private_key_over_many_lines_is_masked_in_each(prefix: str) -> None:
    stream = Redactor().stream()
    shown = [stream.line(prefix + line) for line in KEY.splitlines()]
    assert shown == [prefix + MASK] * len(shown)
    assert stream.line("#8 DONE 0.2s") == "#8 DONE 0.2s"


def test_a_private_key_is_masked_while_another_step_prints_between_its_lines() -> None:
    stream = Redactor().stream()
    shown = [
        stream.line(one) for line in KEY.splitlines() for one in (f"#8 0.1 {line}", "#9 1.2 npm ci")
    ]
    assert shown == [f"#8 0.1 {MASK}", "#9 1.2 npm ci"] * len(KEY.splitlines())
    for number in range(60):
        assert stream.line(f"#9 step {number}") == f"#9 step {number}"


def test_mention_of_a_key_marker_does_not_mask_the_log() -> None:
    stream = Redactor().stream()
    stream.line("expected -----BEGIN PRIVATE KEY-----")
    assert stream.line("-----> Cleaning up...") == "-----> Cleaning up..."
    assert stream.line("abc") == "abc"


def test_a_private_key_in_one_text_is_masked() -> None:
    redactor = Redactor()
    assert redactor.text(f"a\n{KEY}\nb") == f"a\n{MASK}\nb"
    assert redactor.text("K=" + KEY.replace("\n", "\\n") + " b") == f"K={MASK} b"


def test_a_known_key_is_masked_line_by_line() -> None:
    redactor = Redactor([KEY])
    for line in KEY.splitlines()[1:5]:
        assert redactor.text(line) == MASK


@settings(deadline=None)
@given(st.text(), st.text(alphabet="abcXYZ019-+/=@:&?%\"' ", min_size=6, max_size=40), st.text())
def test_known_value_never_comes_out(before: str, value: str, after: str) -> None:
    value = value.strip() or "fallback-value"
    if len(value) < 6:
        value += "-padded"
    shown = Redactor([value]).text(before + value + after)
    assert value not in shown.replace(MASK, "\0") or value in MASK


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(alphabet=st.characters(exclude_characters="\n"), max_size=30),
            st.sampled_from(
                [
                    "DB_PASSWORD=hunter2hunter2",
                    "token ghp_" + "a1" * 18,
                    "the value is correct-horse",
                    "-----BEGIN RSA PRIVATE KEY-----",
                    "M" * 64,
                    "-----END RSA PRIVATE KEY-----",
                    "https://ada:s3cr3t@git.example/app.git",
                ]
            ),
        ),
        max_size=12,
    ),
    st.integers(min_value=0, max_value=12),
)
def test_masking_many_lines_equals_masking_each(lines: list[str], cut: int) -> None:
    redactor = Redactor(["correct-horse"])
    one_by_one, together = redactor.stream(), redactor.stream()
    masked = [*together.lines(lines[:cut]), *together.lines(lines[cut:])]
    assert masked == [one_by_one.line(line) for line in lines]


@given(st.text())
def test_masking_twice_changes_nothing(text: str) -> None:
    redactor = Redactor([KNOWN])
    once = redactor.text(text)
    assert redactor.text(once) == once


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(["password=", "eyJ", "://a:b", "-----BEGIN PRIVATE KEY-----.", "ghp_", "a@"]),
    st.integers(1, 2000),
    st.integers(1, 200),
)
def test_head_never_cuts_a_secret(unit: str, repeat: int, at: int) -> None:
    redactor = Redactor([KNOWN])
    text = ("x" * at + KNOWN + " " + unit * repeat).ljust(2000 + redactor.hold)
    out, rest = [], text
    while rest:
        shown, used, _ = redactor.head(rest, 1000)
        assert used > 0
        out.append(shown)
        rest = rest[used:]
    assert KNOWN not in "".join(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        *("a", " ", 'password="', "password='\\", "token", "token=", "eyJ", "://a:b", "://:", "--"),
        *("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----.", "-----BEGIN A", "ghp_"),
        *("authorization: ", "bearer ", "SG.aaaaaaaaaaaaaaaaa.", "ENV ", "ENV token", "\\"),
        *(
            "curl -u a",
            "curl ",
            "mysql ",
            "mysql -p",
            "A_KEY",
            "A_KEY=",
            "&key=",
            "&key",
            "login a ",
        ),
        *("password '", "identified by ", "redis-cli -", "bearer a", "Basic aB", "1:AA", "_", "A_"),
        *("secret ", "pass_", KNOWN, KNOWN[:-1], "AKIA", "xox", "-----END PRIVATE KEY-----"),
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = (unit * (200_000 // len(unit)))[:200_000]
    begin = time.thread_time()
    Redactor([KNOWN]).text(text)
    # Linear behaviour takes 0.1 s, on a busy machine 0.5 s; quadratic behaviour a minute.
    assert time.thread_time() - begin < 10


POSITIONS = [
    *("src/token.service.ts:41:7", "passwords_controller.rb:12:in", "bin/rails credentials:edit"),
    *("token.go:12:9", "(TokenService.java:41)", "npm run token:generate"),
]
SECRETS = [
    *("PASSWORD=hunter2hunter2", "api_key: hunter2hunter2", "--token hunter2hunter2"),
    *("https://me:hunter2hunter2@host/x", "Authorization: Bearer hunter2hunter2"),
    *("curl -u me:hunter2hunter2 x", "docker login -u me -p hunter2hunter2"),
]


@given(st.lists(st.sampled_from([*POSITIONS, *SECRETS]), min_size=1, max_size=6))
def test_positions_stay_readable_and_secrets_masked_on_lines_together(parts: list[str]) -> None:
    shown = [Redactor().text(part) for part in parts]
    assert all(one == part for one, part in zip(shown, parts, strict=True) if part in POSITIONS)
    assert "hunter2" not in "".join(shown)
    assert "hunter2" not in Redactor().text(" ".join(parts))
    assert all(one in Redactor().text(" | ".join(POSITIONS)) for one in POSITIONS)


# --- known values, however they are written

AWKWARD = [
    *("hunter2/is+secret", "p@ss w=rd:&%", 'say "hi" to\tall', "it's a secret", "back\\slash/n"),
    *("pä/ss+wörd", "🔑/key+long", "a%2fb%41/c", "<b>&amp;</b>", "dollar$(x)`y`!"),
]


def percent(value: str, *, lower: bool = False, every: bool = False) -> str:
    coded = "".join(f"%{one:02X}" for one in value.encode()) if every else quote(value, safe="")
    return re.sub("%..", lambda one: one[0].lower(), coded) if lower else coded


def as_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def in_units(value: str) -> str:
    units = value.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


ENCODERS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": percent,
    "percent, lower case": lambda value: percent(value, lower=True),
    "percent, all of it": lambda value: percent(value, every=True),
    "percent, but slashes": quote,
    "form": quote_plus,
    "percent twice": lambda value: percent(percent(value)),
    "JSON": as_json,
    "JSON as it is": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON with slashes": lambda value: as_json(value).replace("/", "\\/"),
    "JSON, plus as a unit": lambda value: as_json(value).replace("+", "\\u002b"),
    "JSON, all of it": in_units,
    "JSON in JSON": lambda value: as_json(as_json(value)),
    "percent in JSON": lambda value: as_json(percent(value)),
    "JSON in percent": lambda value: percent(as_json(value)),
    "shell": lambda value: shlex.quote(value).removeprefix("'").removesuffix("'"),
    "shell, backslashes": lambda value: re.sub(r"([^\w\n\t])", r"\\\1", value),
    "shell, single quotes": lambda value: value.replace("'", "'\\''"),
    "bytes": lambda value: "".join(f"\\x{one:02x}" for one in value.encode()),
    "SQL": lambda value: value.replace("'", "''"),
    "HTML": html.escape,
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "hex, parted": lambda value: value.encode().hex(":"),
}
MARGINS = ["", "#9 0.12 ", "#9 ", "       ", "     | ", "0.123 ", "> ", "[builder] "]
TIMES = "2026-01-01T10:00:00.1Z app[web.1]: "


def read(lines: Sequence[str], *, at_once: bool = True) -> str:
    """What a command's output shows of these lines, without margins and line ends."""
    output = OutputReader(Redactor(AWKWARD))
    data = [f"{line}\n".encode() for line in lines]
    shown = [
        one for part in (data if not at_once else [b"".join(data)]) for one in output.feed(part)
    ]
    return "".join(line.shown for line in [*shown, *output.finish()])


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("value", AWKWARD)
def test_a_known_value_is_masked_however_it_is_written(encoder: str, value: str) -> None:
    written = ENCODERS[encoder](value)
    shown = Redactor(AWKWARD).text(f"it is <{written}>, says <x>")
    assert written not in shown
    assert re.fullmatch(r"it is <\S{0,2}\[redacted\]\S{0,2}>, says <x>", shown), shown


@given(st.sampled_from(AWKWARD), st.sampled_from(list(ENCODERS)), st.data())
def test_a_known_value_is_masked_broken_over_lines(
    value: str, encoder: str, data: st.DataObject
) -> None:
    written = ENCODERS[encoder](value)
    margin = data.draw(st.sampled_from([*MARGINS, TIMES]))
    at_once = encoder != "plain" or data.draw(st.booleans())
    # An escape itself is never cut: at most between two of them.
    whole = [match.end() for match in re.finditer(r"%..|\\u....|\\x..|\\.|&\w+;|'\\''|.", written)]
    # A part that starts like a margin is indistinguishable from one.
    whole = [
        at for at in whole if written[at - 1 : at + 1].strip(" \t|>") == written[at - 1 : at + 1]
    ]
    cuts = sorted(data.draw(st.sets(st.sampled_from(whole), max_size=3)))
    edges = [0, *cuts, len(written)]
    parts = [written[a:b] for a, b in pairwise(edges) if b > a]
    lines = [margin + part for part in ["first", *parts, "last"]]
    left = read(lines, at_once=at_once).replace(margin, "").replace(MASK, "").strip()
    assert (left[:5], left[-4:]) == ("first", "last")
    # A line is not kept back for three characters that may begin a value.
    assert len(left) <= len("firstlast") + (0 if at_once else 3)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("at_once", [True, False])
@given(st.sampled_from(AWKWARD), st.binary(max_size=120), st.binary(max_size=120))
def test_base64_in_lines_of_76_columns_shows_no_known_value(
    margin: str, at_once: bool, value: str, before: bytes, after: bytes
) -> None:
    data = before + value.encode() + after
    lines = [margin + line for line in base64.encodebytes(data).decode().splitlines()]
    shown = read(lines, at_once=at_once)
    left = shown.replace(margin, "") if margin else shown
    for part in left.split(MASK):
        for cut in range(4):
            text = part[cut:]
            assert value.encode() not in base64.b64decode(text[: len(text) // 4 * 4])
    assert MASK in left


@given(st.lists(st.sampled_from([*POSITIONS, *SECRETS]), min_size=1, max_size=6))
def test_positions_stay_readable_also_where_values_are_known(parts: list[str]) -> None:
    redactor = Redactor([*AWKWARD, "hunter2hunter2"])
    for part in parts:
        assert (redactor.text(part) == part) is (part in POSITIONS)


def test_a_line_that_may_end_in_a_value_waits_for_the_next() -> None:
    output = OutputReader(Redactor(["hunter2/is+secret"]))
    assert [line.shown for line in output.feed(b"one\n#9 ab hunter2/\n")] == ["one"]
    assert [line.shown for line in output.feed(b"#9 is+secret cd\n")] == [
        f"#9 ab {MASK}",
        f"#9 {MASK} cd",
    ]
    assert [line.shown for line in output.feed(b"#9 ab hunter2/\n")] == []
    assert [line.shown for line in output.finish()] == ["#9 ab hunter2/"]


@pytest.mark.parametrize(
    "text",
    [
        r"https:\/\/me:hunter2hunter2@host\/x",
        "https%3A%2F%2Fme%3Ahunter2hunter2%40host%2Fx",
        r"https:\u002f\u002fme:hunter2hunter2@host/x",
        "https://hooks.slack.com/commands/T0/123/hunter2hunter2",
        "https://hooks.slack.com/actions/T0/123/hunter2hunter2",
        r"https:\/\/hooks.slack.com\/services\/T0\/B0\/hunter2hunter2",
        "wss://wss-primary.slack.com/link/?ticket=hunter2hunter2&app_id=x",
        "GET /auth/callback?code=hunter2hunter2&state=x",
        "GET /auth/callback?state=x&code=4/0AX4XfWhunter2",
    ],
)
def test_addresses_lose_their_secret_in_every_spelling(text: str) -> None:
    assert "hunter2" not in Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        *("GET /error?code=404 200", "see https://x.example/e?code=TS2322", "?code=not_found"),
        *("?code=ERR_MODULE_NOT_FOUND", "?ticket=ABC-123", "?code=en&page=2", "?ticket=17"),
        *(r"C:\Users\me\app", "100% of 20% done", r"sed 's/a\/b/c/'", "a &amp; b", "%2f%2F"),
    ],
)
def test_codes_and_escapes_without_a_secret_stay_readable(text: str) -> None:
    assert Redactor(AWKWARD).text(text) == text
