"""Pages and examples that are made from the code, or must agree with it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from bot.config.settings import load_settings
from bot.config.sources import CONFIG_VARIABLE, PLACE_OF
from bot.config.tables import AppTable, Knobs, ServerTable, WebhookTable, is_later
from bot.slack.manifest import EVENTS, SCOPES, manifest, manifest_text
from tests.support.settings import host_line, pem
from tools.docs.pages import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("path", list(pages(ROOT)), ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    assert path.read_text() == pages(ROOT)[path], "run `make docs`"


def test_every_setting_has_a_sentence() -> None:
    for table in (Knobs, ServerTable, AppTable, WebhookTable):
        for name, knob in table.model_fields.items():
            if not is_later(knob):
                assert knob.description, f"{table.__name__}.{name}"
                assert knob.description.endswith("."), f"{table.__name__}.{name}"


def test_no_page_names_a_variable_that_does_not_exist() -> None:
    known = {*PLACE_OF, CONFIG_VARIABLE}
    for page in (*DOCS.glob("*.md"), ROOT / "README.md", ROOT / ".env.example"):
        for name in re.findall(r"\b(?:DEPLOYBOT|DOKKU|SLACK)_[A-Z_]+[A-Z]\b", page.read_text()):
            assert name in known, f"{page.name}: {name}"


def test_the_example_of_the_environment_is_a_complete_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(pem())
    (tmp_path / "known").write_text(host_line("*"))
    given = {name: text or "" for name, text in dotenv_values(ROOT / ".env.example").items()}
    given |= {"DOKKU_SSH_KEY": "key", "DOKKU_KNOWN_HOSTS": "known"}

    assert load_settings(environ=given, folder=tmp_path).slack.socket_mode


def test_what_the_example_comments_out_is_right_too(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(
        line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line)
    )
    given |= {"DEPLOYBOT_WEBHOOK_SECRET": "any text", "SLACK_SIGNING_SECRET": "0123456789abcdef"}

    assert load_settings(environ=given, folder=tmp_path, complete=False).endpoints()


def test_the_example_of_the_file_is_accepted(tmp_path: Path) -> None:
    text = (ROOT / "deploybot.toml.example").read_text()
    text = text.replace("/run/secrets/dokku_key", "key").replace(
        "/run/secrets/known_hosts", "known"
    )
    (tmp_path / "deploybot.toml").write_text(text)
    (tmp_path / "key").write_text(pem())
    (tmp_path / "known").write_text(host_line("*"))
    environ = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}

    settings = load_settings(environ=environ, folder=tmp_path)

    assert list(settings.targets()) == ["production", "staging"]
    assert [app.app for app in settings.catalog().listed()] == ["myapp", "myapp-staging"]


def test_the_manifest_file_is_the_socket_form() -> None:
    assert (ROOT / "manifest.yml").read_text() == manifest_text()


def test_the_http_form_names_the_address_everywhere() -> None:
    text = manifest_text("http", "https://bot.example.com/")

    assert text.count("https://bot.example.com/slack/events") == 3
    assert "socket_mode_enabled: false" in text
    assert manifest_text("http", "https://bot.example.com/slack/events") == text


def test_the_yaml_says_what_the_data_says() -> None:
    """Read back by rules of its own: indentation, `key: value`, `- item`."""
    assert _leaves_of_yaml(manifest_text()) == list(_leaves(manifest(), ()))


def _leaves(value: object, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, (*above, key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, (*above, "-"))
    else:
        yield above, str(value).lower() if isinstance(value, bool) else str(value)


def _leaves_of_yaml(text: str) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    open_keys: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        rest = line.strip()
        open_keys = [(at, key) for at, key in open_keys if at < indent]
        if rest.startswith("- "):
            open_keys.append((indent, "-"))
            indent, rest = indent + 2, rest[2:]
        key, colon, value = rest.partition(": ")
        if colon:
            found.append(((*(name for _, name in open_keys), key), value.strip('"')))
        elif rest.endswith(":"):
            open_keys.append((indent, rest[:-1]))
        else:
            found.append((tuple(name for _, name in open_keys), rest))
    return found


def test_the_manifest_keeps_slacks_limits() -> None:
    text = manifest()
    info, features = text["display_information"], text["features"]
    assert isinstance(info, dict)
    assert isinstance(features, dict)
    assert len(str(info["name"])) <= 35
    assert len(str(info["description"])) <= 140
    shortcuts = features["shortcuts"]
    assert isinstance(shortcuts, list)
    for shortcut in shortcuts:
        assert len(shortcut["name"]) <= 24
        assert len(shortcut["description"]) <= 150


def test_what_the_manifest_subscribes_to_is_listened_to() -> None:
    listeners = "\n".join(path.read_text() for path in (ROOT / "bot" / "slack").glob("*.py"))

    assert '"/deploy"' in listeners
    assert '"deploy_from_message"' in listeners
    for event in EVENTS:
        assert f'"{event.partition(".")[0]}"' in listeners


def test_the_install_page_says_what_each_scope_is_for() -> None:
    page = (DOCS / "install.md").read_text()

    for scope in SCOPES:
        assert f"`{scope}`" in page
