"""What people may ask for."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.deployments.model import Actor, AppPolicy
from bot.deployments.requests.validate import check_app, check_ref, closest, may_deploy, quoted
from bot.errors import Declined


@pytest.mark.parametrize("name", ["web", "a", "7up", "my-app.v2", "a" * 255])
def test_dokku_names_pass(name: str) -> None:
    assert check_app(name) == name


@pytest.mark.parametrize(
    "name", ["", "Web", "-web", ".web", "my_app", "a:b", "a/b", "a b", "a;b", "a`b", "é", "a" * 256]
)
def test_other_names_are_declined(name: str) -> None:
    with pytest.raises(Declined):
        check_app(name)


@pytest.mark.parametrize(
    "ref", ["main", "feature/x-1", "v1.2.3", "a1b2c3d", "refs/pull/7/head", "HEAD", "a" * 255]
)
def test_refs_of_git_pass(ref: str) -> None:
    assert check_ref(ref) == ref


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "-f",
        "/a",
        "a/",
        ".a",
        "a.",
        "@",
        "a..b",
        "a b",
        "a@{1}",
        "a//b",
        "a/.b",
        "a.lock",
        "a.lock/b",
        "a;b",
        "$(x)",
        "a\nb",
        "a\u202eb",
        "a" * 256,
    ],
)
def test_other_refs_are_declined(ref: str) -> None:
    with pytest.raises(Declined):
        check_ref(ref)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab/.-@{}~^:? \\*[lock", min_size=1, max_size=12))
def test_what_passes_is_accepted_by_git_itself(ref: str) -> None:
    try:
        check_ref(ref)
    except Declined:
        return
    asked = subprocess.run(["git", "check-ref-format", "--allow-onelevel", ref], check=False)
    assert asked.returncode == 0


def test_foreign_text_in_a_sentence_is_harmless() -> None:
    assert quoted("<@U1>`x`&") == "?@\u200bU1??x??"
    assert quoted("a" * 99) == "a" * 59 + "…"
    assert quoted("a" * 60) == "a" * 60


def test_the_closest_names_are_offered() -> None:
    assert closest("mapp", ["myapp", "web"]) == " Did you mean `myapp`?"
    assert closest("zzz", ["myapp"]) == " `/deploy apps` lists the apps."


def test_who_may_deploy() -> None:
    open_to_all = AppPolicy(server="s", app="web", dokku_app="web")
    closed = AppPolicy(server="s", app="web", dokku_app="web", deployers=frozenset({"U1", "S1"}))
    assert may_deploy(open_to_all, Actor(user="U9"), frozenset())
    assert may_deploy(closed, Actor(user="U1"), frozenset())
    assert may_deploy(closed, Actor(user="U9"), frozenset({"S1"}))
    assert not may_deploy(closed, Actor(user="U9"), frozenset({"S2"}))
