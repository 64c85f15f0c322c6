"""The catalog: the rules, server and repository of an app."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.ports import Catalog
from bot.errors import Declined
from tests.support.builders import a_deployment
from tests.support.settings import host_line, load, pem

TWO_SERVERS = """
[apps.shop]
server = "production"
dokku_app = "shop-live"
repo = "https://git.example/shop.git"
default_ref = "main"
deployers = ["U0123"]
max_duration = "45m"

[apps.shop-staging]
server = "staging"
dokku_app = "shop"
"""


def catalog(tmp_path: Path, toml: str = "", **changes: str | None) -> Catalog:
    return load(tmp_path, toml=toml, **changes).catalog()


def two_servers(tmp_path: Path, before: str = "") -> Catalog:
    (tmp_path / "key").write_text(pem())
    (tmp_path / "known").write_text(host_line("*"))
    servers = "".join(
        f'[servers.{name}]\nhost = "{name}"\nssh_key = "key"\nknown_hosts = "known"\n'
        for name in ("production", "staging")
    )
    none = {"DOKKU_HOST": None, "DOKKU_SSH_KEY": None, "DOKKU_KNOWN_HOSTS": None}
    return catalog(tmp_path, before + servers + TWO_SERVERS, **none)


def test_app_without_a_table_gets_the_defaults(tmp_path: Path) -> None:
    policy = catalog(tmp_path, DEPLOYBOT_MAX_DURATION="20m").policy("blog")

    assert (policy.server, policy.app, policy.dokku_app) == ("default", "blog", "blog")
    assert policy.deployers == frozenset()
    assert policy.max_duration == timedelta(minutes=20)


def test_app_table_sets_all_its_rules(tmp_path: Path) -> None:
    policy = two_servers(tmp_path).policy("shop")

    assert (policy.server, policy.app, policy.dokku_app) == ("production", "shop", "shop-live")
    assert policy.repo == "https://git.example/shop.git"
    assert policy.default_ref == "main"
    assert policy.deployers == {"U0123"}
    assert policy.max_duration == timedelta(minutes=45)


def test_table_applies_to_the_dokku_name_too(tmp_path: Path) -> None:
    apps = two_servers(tmp_path)

    assert apps.policy("shop-live", "production") == apps.policy("shop")
    assert apps.policy("shop-live") == apps.policy("shop")


def test_same_name_on_another_server_is_another_table(tmp_path: Path) -> None:
    policy = two_servers(tmp_path).policy("shop", "staging")

    assert (policy.app, policy.server, policy.dokku_app) == ("shop-staging", "staging", "shop")


def test_server_names_ignore_case(tmp_path: Path) -> None:
    assert two_servers(tmp_path).policy("shop", "Production").server == "production"


def test_unknown_server_is_declined_with_known_servers(tmp_path: Path) -> None:
    with pytest.raises(Declined, match=r"no server moon.*production, staging"):
        two_servers(tmp_path).policy("shop", "moon")


def test_app_without_a_table_needs_a_server_if_there_are_several(tmp_path: Path) -> None:
    apps = two_servers(tmp_path)

    with pytest.raises(Declined, match="On which server"):
        apps.policy("blog")
    assert apps.policy("blog", "staging").server == "staging"


def test_only_listed_apps_declines_other_apps(tmp_path: Path) -> None:
    apps = two_servers(tmp_path, before="only_listed_apps = true\n")

    with pytest.raises(Declined, match="blog is not among the apps"):
        apps.policy("blog")
    with pytest.raises(Declined, match="shop-live is not among the apps I may deploy to staging"):
        apps.policy("shop-live", "staging")
    assert apps.policy("shop")


def test_listed_apps_keep_the_order_of_the_file(tmp_path: Path) -> None:
    assert [one.app for one in two_servers(tmp_path).listed()] == ["shop", "shop-staging"]


def test_repo_comes_from_the_table_then_the_template(tmp_path: Path) -> None:
    toml = '[apps.shop]\nrepo = "https://git.example/own.git"\n[apps.blog]\ndokku_app = "b1"\n'
    apps = catalog(tmp_path, toml, DEPLOYBOT_REPO_TEMPLATE="https://git.example/{app}.git")

    assert apps.repo_for(apps.policy("shop")) == "https://git.example/own.git"
    assert apps.repo_for(apps.policy("blog")) == "https://git.example/blog.git"
    assert apps.repo_for(apps.policy("wiki")) == "https://git.example/wiki.git"


def test_catalog_holds_no_password_of_a_repository(tmp_path: Path) -> None:
    toml = '[apps.shop]\nrepo = "https://u:pw@git.example/own.git"\n'
    settings = load(
        tmp_path, toml=toml, DEPLOYBOT_REPO_TEMPLATE="https://tok@git.example/{app}.git"
    )
    apps, known = settings.catalog(), settings.repositories()
    for app, bare, full in (
        ("shop", "https://git.example/own.git", "https://u:pw@git.example/own.git"),
        ("wiki", "https://git.example/wiki.git", "https://tok@git.example/wiki.git"),
    ):
        assert apps.repo_for(apps.policy(app)) == bare
        assert known.full(bare) == full


def test_no_repo_without_table_and_template(tmp_path: Path) -> None:
    apps = catalog(tmp_path)

    assert apps.repo_for(apps.policy("blog")) is None


@pytest.mark.parametrize("only_listed", ["", "only_listed_apps = true\n"])
def test_stored_deployment_goes_by_server_and_dokku_app(tmp_path: Path, only_listed: str) -> None:
    apps = two_servers(tmp_path, only_listed)
    renamed = a_deployment(app="front", dokku_app="shop-live", server="production")
    other = a_deployment(app="shop", dokku_app="shop", server="staging")
    gone = a_deployment(app="front", dokku_app="front-live", server="production")
    taken = a_deployment(app="shop", dokku_app="shop", server="production")
    elsewhere = a_deployment(app="blog", dokku_app="blog", server="moon")

    assert apps.rules_of(renamed.target, renamed.app) == apps.policy("shop")
    assert apps.rules_of(other.target, other.app) == apps.policy("shop-staging")
    for unknown in (gone, taken, elsewhere):
        assert apps.rules_of(unknown.target, unknown.app) is None


def test_stored_deployment_of_an_app_without_a_table(tmp_path: Path) -> None:
    blog = a_deployment(app="blog", dokku_app="blog", server="staging")

    assert two_servers(tmp_path).rules_of(blog.target, blog.app) is not None
    assert (
        two_servers(tmp_path, "only_listed_apps = true\n").rules_of(blog.target, blog.app) is None
    )
