"""Generated pages are up to date; examples and the manifest are valid and complete."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from dotenv import dotenv_values

from bot.config.loading import load_settings
from bot.config.settings import AppTable, ServerTable, SettingsTable, WebhookTable
from bot.config.sources import CONFIG_VARIABLE, PLACE_OF
from bot.errors import ConfigError
from bot.slack.manifest import EVENTS, SCOPES, Mode, manifest, manifest_text
from tests.support.settings import host_line, pem
from tools.docs.pages import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOKKUS_OWN = {"DOKKU_DOCKER_STOP_TIMEOUT"}
"""Variables of Dokku itself that the pages name."""
SHAPES: tuple[tuple[Mode, str | None, str], ...] = (
    ("socket", None, "/deploy"),
    ("http", "https://bot.example.com", "/ship"),
)


@pytest.mark.parametrize("path", list(pages(ROOT)), ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text() == pages(ROOT)[path](), "run `make docs`"


def test_every_setting_has_a_description() -> None:
    for table in (SettingsTable, ServerTable, AppTable, WebhookTable):
        for name, setting in table.model_fields.items():
            assert setting.description, f"{table.__name__}.{name}"
            assert setting.description.endswith("."), f"{table.__name__}.{name}"


def test_pages_name_only_variables_that_exist() -> None:
    known = {*PLACE_OF, CONFIG_VARIABLE, *DOKKUS_OWN}
    for page in (*DOCS.glob("*.md"), ROOT / "README.md", ROOT / ".env.example"):
        for name in re.findall(r"\b(?:DEPLOYBOT|DOKKU|SLACK)_[A-Z_]+[A-Z]\b", page.read_text()):
            assert name in known, f"{page.name}: {name}"


def test_env_example_is_complete(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(pem())
    (tmp_path / "known").write_text(host_line("*"))
    given = {name: text or "" for name, text in dotenv_values(ROOT / ".env.example").items()}
    given |= {"DOKKU_SSH_KEY": "key", "DOKKU_KNOWN_HOSTS": "known"}

    assert load_settings(environ=given, folder=tmp_path).slack.socket_mode


def test_commented_lines_of_env_example_are_valid(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(
        line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line)
    )
    given |= {"DEPLOYBOT_WEBHOOK_SECRET": "any text", "SLACK_SIGNING_SECRET": "0123456789abcdef"}

    assert load_settings(environ=given, folder=tmp_path, complete=False).endpoints()


def test_toml_example_is_accepted(tmp_path: Path) -> None:
    text = (ROOT / "deploybot.toml.example").read_text()
    text = text.replace("/run/secrets/dokku_key", "key").replace(
        "/run/secrets/known_hosts", "known"
    )
    (tmp_path / "deploybot.toml").write_text(text)
    (tmp_path / "key").write_text(pem())
    (tmp_path / "known").write_text(host_line("*"))
    environ = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}

    settings = load_settings(environ=environ, folder=tmp_path)

    assert list(settings.servers) == ["production", "staging"]
    assert [app.app for app in settings.catalog().listed()] == ["myapp", "myapp-staging"]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_settings_on_pages_are_accepted(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "deploybot.toml").write_text(text)

        load_settings(environ={}, folder=folder, complete=False)


def test_manifest_file_is_the_socket_form() -> None:
    assert (ROOT / "manifest.yml").read_text() == manifest_text()


def test_http_manifest_has_the_url_everywhere() -> None:
    text = manifest_text("http", "https://bot.example.com/")

    assert text.count("https://bot.example.com/slack/events") == 4
    assert "socket_mode_enabled: false" in text
    assert manifest_text("http", "https://bot.example.com/slack/events") == text


def test_every_form_of_the_manifest_has_the_same_data() -> None:
    for mode, url, command in SHAPES:
        data = manifest(mode, url, command)
        assert yaml.safe_load(manifest_text(mode, url, command)) == data
        assert json.loads(manifest_text(mode, url, command, "json")) == data
        link = urlsplit(manifest_text(mode, url, command, "link").strip())
        assert f"{link.scheme}://{link.netloc}{link.path}" == "https://api.slack.com/apps"
        given = parse_qs(link.query, strict_parsing=True)
        assert given["new_app"] == ["1"]
        assert [json.loads(text) for text in given["manifest_json"]] == [data]


def test_manifest_names_the_command() -> None:
    assert "command: /ship\n" in manifest_text(command="/ship")
    assert "/deploy" not in manifest_text(command="/ship")
    with pytest.raises(ConfigError, match=r"--command: not a name that Slack gives a command"):
        manifest(command="ship it")


def test_manifest_keeps_slacks_limits() -> None:
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


def test_every_subscribed_event_has_a_listener() -> None:
    listeners = "\n".join(path.read_text() for path in (ROOT / "bot" / "slack").glob("*.py"))

    assert '"deploy_from_message"' in listeners
    for event in EVENTS:
        assert f'"{event.partition(".")[0]}"' in listeners


def test_install_page_explains_every_scope() -> None:
    page = (DOCS / "install.md").read_text()

    for scope in SCOPES:
        assert f"`{scope}`" in page
