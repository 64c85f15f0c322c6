"""Which app names and refs are accepted."""

import subprocess
from collections.abc import Callable
from contextvars import copy_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Declined
from bot.names import (
    Repositories,
    bare_repo,
    check_app,
    check_ref,
    is_command,
    is_ref,
    quoted,
    set_command,
    slash,
    typed,
)


@pytest.mark.parametrize("name", ["web", "a", "7up", "0app", "my-app.v2", "a" * 255])
def test_app_names_of_dokku_pass(name: str) -> None:
    assert check_app(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("Web", "-web", "-x", ".web", "my_app", "a:b", "a/b", "a b", "a;b", "a`b", "é", "a\n"),
        "a" * 256,
    ],
)
def test_other_names_are_declined(name: str) -> None:
    with pytest.raises(Declined, match="is not a valid app name"):
        check_app(name)


def test_a_missing_name_is_declined() -> None:
    with pytest.raises(Declined, match="Name an app"):
        check_app("")


@pytest.mark.parametrize(
    "ref",
    [
        *("main", "feature/x-1", "feature/x_y-1", "v1.2.3", "a1b2c3d", "refs/pull/7/head", "HEAD"),
        *("release#2", "b5d9cb9694436598f983cd87ef0260d68cc9fc2f", "a" * 255),
    ],
)
def test_refs_of_git_pass(ref: str) -> None:
    assert check_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        *("", "-f", "-x", "--build", "/a", "a/", ".a", "a.", "@", "a..b", "a b", "a@{1}", "a//b"),
        *("a/.b", "a.lock", "a.lock/b", "a\nb", "a\n", "a\u202eb", "a~1"),
        *("a^", "a:b", "a?b", "a*", "a[b", "a\\b", "a\x7fb", "a" * 256),
    ],
)
def test_other_refs_are_declined(ref: str) -> None:
    with pytest.raises(Declined, match="is not a valid branch, tag or commit name"):
        check_ref(ref)


@pytest.mark.parametrize(
    ("ref", "named"),
    [
        ("feature/(wip)", "left parenthesis, right parenthesis"),
        ("user's-name", "apostrophe"),
        ("a&b", "ampersand"),
        ("a;b", "semicolon"),
        ("$(x)", "dollar sign, left parenthesis"),
        ('a"b', "quotation mark"),
        ("a`x`", "grave accent"),
        ("é", "latin small letter e with acute"),
    ],
)
def test_ref_that_git_accepts_and_dokku_cannot_be_given_is_declined(ref: str, named: str) -> None:
    assert not is_ref(ref)
    with pytest.raises(Declined, match="may be a branch or tag, but Dokku") as declined:
        check_ref(ref)
    assert named in str(declined.value)


@pytest.mark.parametrize("check", [check_app, check_ref])
@given(text=st.text(st.characters(codec="ascii"), max_size=30))
def test_an_accepted_name_stays_one_harmless_word(check: Callable[[str], str], text: str) -> None:
    try:
        passed = check(text)
    except Declined:
        return
    assert passed.split() == [passed]
    assert not passed.startswith("-")
    assert not set(passed) & set("'\"\\`$;|&<>(){}\n")


@pytest.mark.git
@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab/.-@{}~^:? \\*[lock", min_size=1, max_size=12))
def test_git_accepts_what_passes(ref: str) -> None:
    try:
        check_ref(ref)
    except Declined:
        return
    asked = subprocess.run(["git", "check-ref-format", "--allow-onelevel", ref], check=False)
    assert asked.returncode == 0


def test_quoted_text_is_harmless() -> None:
    assert quoted("<@U1>`x`&") == "?@\u2060U1??x??"
    assert quoted("a" * 99) == "a" * 59 + "…"
    assert quoted("a" * 60) == "a" * 60


@pytest.mark.parametrize(
    ("address", "bare"),
    [
        ("https://git.example/a.git", "https://git.example/a.git"),
        ("https://user:pw@git.example/a.git", "https://git.example/a.git"),
        ("https://token@git.example:8443/a.git", "https://git.example:8443/a.git"),
        ("https://u:p%40ss@git.example/a@b.git", "https://git.example/a@b.git"),
        ("https://u:p@ss@git.example/a.git", "https://git.example/a.git"),
        ("https://u:pa/ss@git.example/a.git", "https://git.example/a.git"),
        ("https://git.example:8443/@scope/a.git", "https://git.example:8443/@scope/a.git"),
        ("https://git.example/@scope/a.git", "https://git.example/@scope/a.git"),
        ("ssh://git@git.example/a.git", "ssh://git@git.example/a.git"),
        ("ssh://git:pw@git.example:22/a.git", "ssh://git@git.example:22/a.git"),
        ("git@git.example:acme/a.git", "git@git.example:acme/a.git"),
        ("https://t@git.example/{app}.git", "https://git.example/{app}.git"),
        ("registry.example/acme/web:1", "registry.example/acme/web:1"),
        ("", ""),
    ],
)
def test_bare_address_of_a_repository(address: str, bare: str) -> None:
    assert bare_repo(address) == bare
    assert bare_repo(bare) == bare


def test_full_address_comes_from_the_settings_then_from_that_servers_record() -> None:
    known = Repositories(
        ["https://own@git.example/shop.git"], "https://{app}:pw@git.example/{app}/{app}.git"
    )
    assert known.full("https://git.example/shop.git") == "https://own@git.example/shop.git"
    assert known.full("https://git.example/web/web.git") == (
        "https://web:pw@git.example/web/web.git"
    )
    assert known.full("https://git.example/web/api.git") == "https://git.example/web/api.git"

    other = "https://tok@other.example/web.git"
    bare = known.learn(other, server="production", app="web")
    assert bare == "https://other.example/web.git"
    assert known.full(bare, server="production", app="web") == other
    assert known.full(bare, server="staging", app="web") == bare
    assert known.full(bare) == other  # listing it from the bot's own machine
    assert known.knows("production", "web")
    assert not known.knows("staging", "web")
    assert "tok" not in repr(known)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("/ship", True),
        ("/deploy-2_b", True),
        ("/" + "a" * 31, True),
        *((name, False) for name in ("ship", "/", "/Ship", "/my ship", "/ship!", "/" + "a" * 32)),
    ],
)
def test_names_that_slack_gives_a_command(name: str, accepted: bool) -> None:
    assert is_command(name) is accepted


def test_texts_name_the_command_that_was_set_in_this_context_only() -> None:
    def shipping() -> tuple[str, str, str]:
        set_command("/ship")
        with pytest.raises(Declined) as declined:
            check_app("")
        return slash("status"), typed(), str(declined.value)

    assert copy_context().run(shipping) == (
        "`/ship status`",
        "/ship",
        "Name an app: `/ship APP [REF]`. `/ship apps` lists them.",
    )
    assert slash("status") == "`/deploy status`"
