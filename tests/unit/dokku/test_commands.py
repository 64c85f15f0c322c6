from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.dokku import commands
from bot.errors import Declined

SHA = "b5d9cb9694436598f983cd87ef0260d68cc9fc2f"


def test_argument_vectors_are_those_of_dokku() -> None:
    assert commands.version() == ("version",)
    assert commands.apps_list() == ("apps:list",)
    assert commands.apps_report("web", as_json=True) == ("apps:report", "web", "--format", "json")
    assert commands.ps_report("web", as_json=False) == ("ps:report", "web")
    assert commands.ps_inspect("web") == ("ps:inspect", "web")
    assert commands.git_sha("web") == ("git:report", "web", "--git-sha")
    assert commands.git_deploy_branch("web") == ("git:report", "web", "--git-deploy-branch")
    assert commands.builds_list("web") == ("builds:list", "web", "--format", "json")
    assert commands.builds_output("web", "mwu9") == ("builds:output", "web", "mwu9")
    assert commands.builds_output("web", "pid-4711") == ("builds:output", "web", "pid-4711")
    assert commands.builds_cancel("web") == ("builds:cancel", "web")
    assert commands.git_sync("web", "https://git.example/a/web.git", SHA) == (
        *("git:sync", "--build", "web", "https://git.example/a/web.git", SHA),
    )


@pytest.mark.parametrize(
    "command",
    [
        lambda: commands.apps_report("a b", as_json=True),
        lambda: commands.ps_report("-x", as_json=True),
        lambda: commands.ps_inspect("my_app"),
        lambda: commands.config_export("Web"),
        lambda: commands.git_sha("a;b"),
        lambda: commands.git_deploy_branch(""),
        lambda: commands.builds_list("a/b"),
        lambda: commands.builds_output("a:b", "mwu9"),
        lambda: commands.builds_cancel("é"),
        lambda: commands.git_sync("a\n", "https://git.example/a/web.git", SHA),
        lambda: commands.git_sync("web", "https://git.example/a/web.git", "--build"),
        lambda: commands.git_sync("web", "https://git.example/a/web.git", "a b"),
    ],
)
def test_every_argument_is_checked(command: Callable[[], commands.Argv]) -> None:
    with pytest.raises(Declined):
        command()


@pytest.mark.parametrize(
    "repo",
    [
        "https://git.example/acme/web.git",
        "https://user:p%40ss@git.example:8443/acme/web.git",
        "ssh://git@git.example/~acme/web",
        "git://git.example/web.git",
        "git@git.example:acme/web.git",
        "http://127.0.0.1:8000/web.git",
    ],
)
def test_repositories_that_dokku_can_be_given(repo: str) -> None:
    assert commands.checked_repo(repo) == repo


@pytest.mark.parametrize(
    "repo",
    [
        *("", "web", "/srv/web.git", "file:///srv/web.git", "--upload-pack=x", "-oProxy@x:y"),
        *("https://git.example/a b", "https://-x/y", "ssh://git@-oProxyCommand=x/y", "ext::sh"),
        *("https://git.example/$(x)", "https://git.example/'x'", 'https://git.example/"', "a@b"),
        *("https://git.example/x\n", "git@-x:y", "https://", "https://git.example"),
        "https://git.example/" + "a" * 1_100,
    ],
)
def test_repositories_that_are_refused(repo: str) -> None:
    with pytest.raises(Declined, match="repository's address"):
        commands.checked_repo(repo)


def test_build_ids_are_checked() -> None:
    with pytest.raises(Declined, match="not the id of a Dokku build"):
        commands.builds_output("web", "../x")


@given(text=st.text(st.characters(codec="ascii"), max_size=30))
def test_accepted_repository_stays_one_harmless_word(text: str) -> None:
    try:
        passed = commands.checked_repo(text)
    except Declined:
        return
    assert passed.split() == [passed]
    assert not passed.startswith("-")
    assert not set(passed) & set("'\"\\`$;|&<>(){}\n")
