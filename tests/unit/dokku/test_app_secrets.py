"""What counts as a secret of an app, and that masking it changes no verdict."""

import asyncio
import json
import re
from collections.abc import Mapping

import pytest
import structlog

from bot.deployments.model import LogFacts
from bot.dokku.app_secrets import AppSecrets, read_config, secret_values
from bot.dokku.channel import Answer
from bot.dokku.commands import Argv
from bot.dokku.log_markers import LogReader, fixed_texts
from bot.dokku.stream import OutputReader
from bot.errors import OutcomeUnknown, Unreachable
from bot.redaction import Redactor
from bot.redaction_rules import MASK
from tests.unit.dokku.recordings import VERSIONS, Recording, deploys

VALUE = "plain-words-of-a-config"


class Dokku:
    """Answers `config:export`."""

    def __init__(self, config: Mapping[str, str] | None = None) -> None:
        self.asked: list[Argv] = []
        self.config = config or {}
        self.odd: str | Exception | None = None
        self.status = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def ask(self, argv: Argv, *, timeout_s: float) -> Answer:
        assert timeout_s == 63.0
        self.asked.append(argv)
        await self.answers.wait()
        if isinstance(self.odd, Exception):
            raise self.odd
        text = json.dumps(self.config) if self.odd is None else self.odd
        return Answer(exit_status=self.status, stdout=text.encode(), stderr=text.encode())

    def secrets(self, *known: str, timeout_s: float = 3.0) -> AppSecrets:
        redactor = Redactor(known)
        return AppSecrets(
            "production",
            redactor=redactor,
            ask=self.ask,
            timeout_s=timeout_s,
            patience_s=63.0 - timeout_s,
        )


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("FEATURE", VALUE, True),
        ("DATABASE_URL", "postgres://u:p4ssword@db/app", True),
        ("APP_ENV", "production", False),
        ("APP_SECRET", "production", True),
        ("ADMIN_PASSWORD", "hunter.two", True),
        ("APP_HOST", "www.example.com", False),
        ("APP_URL", "https://www.example.com/", False),
        ("CALLBACK", "https://www.example.com/x?state=abc", True),
        ("DOKKU_PROXY_PORT", "8080808", False),
        ("DOKKU_LAB_PASS", "unmasked-value", True),
        ("GIT_REV", "b5d9cb9694436598f983cd87ef0260d68cc9fc2f", False),
        ("PORT", "500000", False),
    ],
)
def test_what_is_a_secret(name: str, value: str, secret: bool) -> None:
    assert list(secret_values({name: value})) == ([value] if secret else [])


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", '["a"]', '"text"', "7", "{", '{"A":1}', '{"A":null}', '{"A":["b"]}'),
        *('{"A":{"B":"c"}}', "export A='b'\n", "motd\n{}", '{"A":"b"} {}', "[" * 100_000),
    ],
)
def test_anything_but_a_flat_object_of_texts_is_refused(text: str) -> None:
    assert read_config(text) is None


def test_a_config_is_read() -> None:
    assert read_config('{"A":"1","B":"x\\ny \\u003c"}\n') == {"A": "1", "B": "x\ny <"}
    assert read_config("{}") == {}


async def test_values_are_secrets_only_of_their_app() -> None:
    dokku = Dokku({"FEATURE": VALUE})
    secrets = dokku.secrets("known-everywhere")
    assert secrets.redactor("web").text(f"{VALUE} known-everywhere") == f"{VALUE} {MASK}"
    await secrets.learn("web")
    assert dokku.asked == [("config:export", "--merged", "--format", "json", "web")]
    assert secrets.redactor("web").text(f"{VALUE} known-everywhere") == f"{MASK} {MASK}"
    assert secrets.redactor("api").text(VALUE) == VALUE
    assert secrets.redactor_of(("ps:report", "web")).text(VALUE) == MASK
    assert secrets.redactor_of(("ps:report", "api")).text(VALUE) == VALUE


async def test_a_value_once_known_stays_known() -> None:
    dokku = Dokku({"FEATURE": VALUE})
    secrets = dokku.secrets()
    await secrets.learn("web")
    dokku.config = {"FEATURE": "another-value"}
    await secrets.learn("web")
    dokku.odd = Unreachable("gone")
    await secrets.learn("web")
    assert secrets.redactor("web").text(f"{VALUE} another-value") == f"{MASK} {MASK}"


@pytest.mark.parametrize(
    ("odd", "status", "why"),
    [
        (f"denied: {VALUE}", 1, "exit status 1"),
        (f'{{"A":"{VALUE}","B":1}}', 0, "not a flat JSON object of texts"),
        (Unreachable(VALUE), 0, "Unreachable"),
        (OutcomeUnknown(VALUE), 0, "OutcomeUnknown"),
    ],
)
async def test_unreadable_config_is_logged_once_without_values(
    odd: str | Exception, status: int, why: str
) -> None:
    dokku = Dokku()
    secrets = dokku.secrets()
    dokku.odd, dokku.status = odd, status
    with structlog.testing.capture_logs() as lines:
        await secrets.learn("web")
        await secrets.learn("web")
        await secrets.learn("api")
    assert [(one["event"], one["app"], one["why"]) for one in lines] == [
        ("config_not_read", "web", why),
        ("config_not_read", "api", why),
    ]
    assert VALUE not in repr(lines)
    dokku.odd, dokku.status = None, 0
    await secrets.learn("web")
    dokku.status = 1
    with structlog.testing.capture_logs() as lines:
        await secrets.learn("web")
    assert len(lines) == 1  # it could be read meanwhile


async def test_late_config_is_used_from_then_on_in_the_output_of_a_running_command() -> None:
    dokku = Dokku({"FEATURE": VALUE})
    dokku.answers.clear()
    secrets = dokku.secrets(timeout_s=0.01)
    with structlog.testing.capture_logs() as lines:
        await secrets.learn("web")
        await secrets.learn("web")
    assert [one["why"] for one in lines] == ["no answer in 0.01 s; the bot goes on waiting for it"]
    output = OutputReader(secrets.redactor("web"), newest=lambda: secrets.redactor("web"))
    assert [line.shown for line in output.feed(f"{VALUE}\n".encode())] == [VALUE]
    dokku.answers.set()
    await secrets.learn("web")
    assert [line.shown for line in output.feed(f"{VALUE}\n".encode())] == [MASK]
    assert dokku.asked == [("config:export", "--merged", "--format", "json", "web")]
    await secrets.aclose()


async def test_nothing_is_asked_after_the_end() -> None:
    dokku = Dokku()
    dokku.answers.clear()
    secrets = dokku.secrets(timeout_s=0.01)
    await secrets.learn("web")
    await secrets.aclose()
    dokku.answers.set()
    assert secrets.redactor("web").text(VALUE) == VALUE


async def test_no_repr_shows_a_value() -> None:
    dokku = Dokku({"FEATURE": VALUE})
    secrets = dokku.secrets()
    await secrets.learn("web")
    answer = await dokku.ask(("config:export",), timeout_s=63.0)
    assert VALUE not in f"{secrets!r} {secrets.redactor('web')!r} {answer!r}"


def test_fixed_texts_of_log_markers_are_spared() -> None:
    said = fixed_texts("web")
    for text in (
        "-----> Cloning web from ",
        "-----> Releasing web...",
        "=====> Application deployed:",
        "=====> Start of web container output (",
        "=====> End of web container output (",
        " !     web currently has a deploy lock in place. Exiting...",
        "^{commit}: not a valid SHA1",
        "Renaming container web.",
        "App build failed",
    ):
        assert text in said
    assert "\\" not in said.replace(" \\\n", "")


RECORDED = [
    one
    for version in VERSIONS
    for one in deploys(version)
    if not one.scenario.startswith("i_app_missing")
]


@pytest.mark.parametrize("recording", RECORDED, ids=str)
async def test_config_value_like_a_word_of_dokku_hides_no_log_marker(
    recording: Recording,
) -> None:
    app = recording.argv[2] if recording.argv[1].startswith("--") else recording.argv[1]
    own = re.findall(
        r"^(?:-----|=====)> .*|^ !  .*|^ {7}\S.*", recording.both.decode(), re.MULTILINE
    )
    # All of them at once, and under names of secrets: the worst possible config. Ids and numbers
    # are not fixed texts.
    words = {word for line in own for word in line.split() if not re.search(r"\d", word)}
    dokku = Dokku({f"SECRET_{number}": word for number, word in enumerate(sorted(words))})
    secrets = dokku.secrets()
    await secrets.learn(app)

    kept, facts = read(recording.both, app, secrets.redactor(app))
    _, again = read("".join(f"{line}\n" for line in kept).encode(), app, Redactor())

    assert (again.markers, again.phase) == (facts.markers, facts.phase)
    assert (again.started, again.renamed) == (facts.started, facts.renamed)
    _, plain = read(recording.both, app, Redactor())
    assert (facts.markers, facts.phase, facts.named_containers) == (
        plain.markers,
        plain.phase,
        plain.named_containers,
    )


def read(data: bytes, app: str, redactor: Redactor) -> tuple[list[str], LogFacts]:
    output, log = OutputReader(redactor), LogReader(app)
    lines = [*output.feed(data), *output.finish()]
    log.feed(lines)
    return [line.shown for line in lines], log.facts


async def test_apps_learned_concurrently_stay_apart() -> None:
    dokku = Dokku({"FEATURE": VALUE})
    secrets = dokku.secrets()
    await asyncio.gather(*(secrets.learn(app) for app in ("web", "api", "web")))
    assert secrets.redactor("web").text(VALUE) == secrets.redactor("api").text(VALUE) == MASK
