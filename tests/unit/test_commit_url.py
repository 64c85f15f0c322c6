import pytest

from bot.names import commit_url, compare_url

SHA = "b5d9cb9694436598f983cd87ef0260d68cc9fc2f"
OLD = "0" * 40


@pytest.mark.parametrize(
    ("repo", "page"),
    [
        ("https://github.com/acme/web.git", "https://github.com/acme/web/commit/"),
        ("https://github.com/acme/web/", "https://github.com/acme/web/commit/"),
        ("https://me:token@github.com/acme/web", "https://github.com/acme/web/commit/"),
        ("git@github.com:acme/web.git", "https://github.com/acme/web/commit/"),
        ("ssh://git@github.com:22/acme/web.git", "https://github.com/acme/web/commit/"),
        ("git://github.com/acme/web", "https://github.com/acme/web/commit/"),
        ("git@gitlab.com:a/b/web.git", "https://gitlab.com/a/b/web/-/commit/"),
        ("https://gitlab.example:8443/a/web", "https://gitlab.example:8443/a/web/-/commit/"),
        ("git@bitbucket.org:acme/web.git", "https://bitbucket.org/acme/web/commits/"),
        ("https://codeberg.org/acme/web.git", "https://codeberg.org/acme/web/commit/"),
        ("https://git.sr.ht/~ada/web", "https://git.sr.ht/~ada/web/commit/"),
    ],
)
def test_known_forges_have_a_commit_page(repo: str, page: str) -> None:
    assert commit_url(repo, SHA) == page + SHA


@pytest.mark.parametrize(
    "repo",
    [
        *("https://git.example/acme/web.git", "/srv/web.git", "web", "", "https://github.com/"),
        *("https://github.com/acme/we b", "https://github.com/acme/<script>", "https://[::1"),
        *(
            "https://github.com/acme/web|x",
            "file:///github.com/acme/web",
            "https://github.com:x/a/b",
        ),
    ],
)
def test_unknown_hosts_have_no_link(repo: str) -> None:
    assert commit_url(repo, SHA) is None


@pytest.mark.parametrize("sha", ["main", "", "b5d9", SHA + "0", SHA.upper(), "b5d9cb9/../x"])
def test_only_commits_are_linked(sha: str) -> None:
    assert commit_url("https://github.com/acme/web", sha) is None


@pytest.mark.parametrize(
    ("repo", "page"),
    [
        ("https://me:token@github.com/acme/web.git", "https://github.com/acme/web/compare/{}...{}"),
        ("git@gitlab.com:a/b/web.git", "https://gitlab.com/a/b/web/-/compare/{}...{}"),
        ("https://codeberg.org/acme/web", "https://codeberg.org/acme/web/compare/{}...{}"),
        ("https://gitea.example/acme/web", "https://gitea.example/acme/web/compare/{}...{}"),
    ],
)
def test_known_forges_have_a_page_that_compares_commits(repo: str, page: str) -> None:
    assert compare_url(repo, OLD, SHA) == page.format(OLD, SHA)


def test_bitbucket_names_the_newer_commit_first() -> None:
    page = f"https://bitbucket.org/acme/web/branches/compare/{SHA}..{OLD}"
    assert compare_url("git@bitbucket.org:acme/web.git", OLD, SHA) == page


@pytest.mark.parametrize(
    ("repo", "old"),
    [
        ("https://git.sr.ht/~ada/web", OLD),
        ("https://git.example/acme/web", OLD),
        ("https://github.com/acme/web", "main"),
    ],
)
def test_without_a_known_page_nothing_is_linked(repo: str, old: str) -> None:
    assert compare_url(repo, old, SHA) is None
