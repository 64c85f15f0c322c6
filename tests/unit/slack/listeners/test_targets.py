import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.model import AppPolicy
from bot.slack.listeners.payloads import is_app, is_ref
from bot.slack.listeners.targets import (
    Target,
    find_target,
    find_targets,
    message_text,
    names_code,
)

SHA = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
APPS = (
    AppPolicy(server="production", app="myapp", dokku_app="myapp"),
    AppPolicy(
        server="eu",
        app="shop",
        dokku_app="shop",
        repo="https://github.com/Acme/storefront.git",
    ),
)
GITHUB = "https://github.com/acme/myapp"


@pytest.mark.parametrize(
    ("link", "ref"),
    [
        (GITHUB, None),
        (GITHUB + ".git", None),
        (GITHUB + "/tree/main", "main"),
        (GITHUB + "/tree/feature/login", "feature/login"),
        (GITHUB + "/tree/fix%2Fx", "fix/x"),
        (GITHUB + "/blob/main/app.py#L3", "main"),
        (GITHUB + f"/commit/{SHA}", SHA),
        (GITHUB + "/commits/main", "main"),
        (GITHUB + "/pull/12", "refs/pull/12/head"),
        (GITHUB + "/pull/12/files", "refs/pull/12/head"),
        (GITHUB + f"/pull/12/commits/{SHA}", SHA),
        (GITHUB + "/compare/main...ada:feature/x", "feature/x"),
        (GITHUB + "/releases/tag/v1.2", "v1.2"),
        (GITHUB + "/actions/runs/123", None),
        (GITHUB + "/tree/..", None),
        (GITHUB + "/releases/download/v1.2/myapp.tgz", "v1.2"),
        (GITHUB + "/archive/refs/tags/v1.2.tar.gz", "v1.2"),
        (GITHUB + "/archive/v1.2.zip", "v1.2"),
        (GITHUB + "/blame/main/app.py", "main"),
        ("https://gitlab.example.com/group/sub/myapp/-/releases/v1.2", "v1.2"),
        ("https://codeberg.org/acme/myapp/raw/branch/main/a.py", "main"),
        ("https://gitlab.example.com/group/sub/myapp/-/tree/main", "main"),
        (f"https://gitlab.example.com/group/myapp/-/commit/{SHA}", SHA),
        (
            "https://gitlab.example.com/group/myapp/-/merge_requests/7/diffs",
            "refs/merge-requests/7/head",
        ),
        ("https://gitlab.example.com/group/myapp/-/tags/v2", "v2"),
        ("https://bitbucket.org/acme/myapp/branch/fix", "fix"),
        (f"https://bitbucket.org/acme/myapp/commits/{SHA}", SHA),
        ("https://bitbucket.example.com/projects/AC/repos/myapp/pull-requests/3/overview",
         "refs/pull-requests/3/from"),
        ("https://codeberg.org/acme/myapp/src/branch/main", "main"),
        ("https://codeberg.org/acme/myapp/pulls/4", "refs/pull/4/head"),
        (f"https://codeberg.org/acme/myapp/src/commit/{SHA}", SHA),
        ("git@github.com:acme/myapp.git", None),
        ("ssh://git@github.com/acme/myapp.git", None),
        ("https://gitlab.example.com/group/sub/myapp.git", None),
    ],
)  # fmt: skip
def test_links_of_the_common_forges(link: str, ref: str | None) -> None:
    expected = Target(app="myapp", ref=ref, server="production")
    assert find_target(f"look at <{link}>.", APPS) == expected
    assert find_target(f"look at <{link}|this>", APPS) == expected
    assert find_target(link) == Target(app="myapp", ref=ref)


@pytest.mark.parametrize(
    "path",
    [
        *("/issues", "/issues/3", "/actions/runs/1", "/actions", "/releases", "/releases/latest"),
        *("/wiki", "/wiki/Home", "/security/advisories/GHSA-1", "/discussions/5", "/pulls"),
        *("/projects/1", "/settings", "/graphs/contributors", "/milestone/2", "/labels", "/tags"),
        *("/branches", "/commits", "/compare", "/packages", "/deployments", "/network", "/tree/.."),
        *("/releases/new", "/invitations", "/some/other/page"),
    ],
)
def test_pages_that_name_no_code(path: str) -> None:
    assert not names_code(GITHUB + path)
    flat = "https://forge.example.com/acme/myapp"
    assert not names_code(flat + path) or path in {"/invitations", "/some/other/page"}


@pytest.mark.parametrize(
    "link",
    [
        "https://gitlab.example.com/group/sub/myapp/-/issues/3",
        "https://gitlab.example.com/group/sub/myapp/-/pipelines/7",
        "https://gitlab.example.com/group/sub/myapp/-/jobs/7",
        "https://gitlab.example.com/group/sub/myapp/-/wikis/home",
        "https://bitbucket.org/acme/myapp/pipelines/results/3",
        "https://bitbucket.example.com/projects/AC/repos/myapp/browse",
        "https://codeberg.org/acme/myapp/issues/2",
        "https://example.com/",
        "https://example.com/status",
        "mailto:ada@example.com",
    ],
)
def test_other_forges_pages_that_name_no_code(link: str) -> None:
    assert not names_code(link)


@pytest.mark.parametrize(
    "link", [GITHUB, GITHUB + ".git", GITHUB + "/", GITHUB + "/pull/3/files", GITHUB + "/tree/main"]
)
def test_pages_that_name_code(link: str) -> None:
    assert names_code(link)


def test_repository_of_a_known_app_means_that_app() -> None:
    found = find_target("<https://github.com/acme/storefront/pull/3>", APPS)
    assert found == Target(app="shop", ref="refs/pull/3/head", server="eu")


def test_branch_is_preferred_to_a_pull_request() -> None:
    text = f"<{GITHUB}/pull/12|#12> from <{GITHUB}/tree/fix-login|fix-login>"
    assert find_target(text, APPS).ref == "fix-login"


@pytest.mark.parametrize(
    ("text", "app", "ref"),
    [
        ("myapp@main", "myapp", "main"),
        ("please ship `myapp@fix/login`!", "myapp", "fix/login"),
        ("<mailto:myapp@v1.2|myapp@v1.2>", "myapp", "v1.2"),
        ("myapp main", "myapp", "main"),
        ("deploy myapp experiment", "myapp", "experiment"),
        ("/deploy myapp main", "myapp", "main"),
        ("please deploy myapp branch fix-3 now", "myapp", "fix-3"),
        ("myapp is down again", "myapp", None),
        ("mail ada@example.com", None, None),
        (SHA, None, SHA),
        ("fixed in a1b2c3d", None, "a1b2c3d"),
        ("myapp broke at a1b2c3d", "myapp", "a1b2c3d"),
        ("the decade facade", None, None),
        ("", None, None),
    ],
)
def test_app_and_ref_in_plain_text(text: str, app: str | None, ref: str | None) -> None:
    found = find_target(text, APPS)
    assert (found.app, found.ref) == (app, ref)


def test_two_words_are_enough_when_no_app_is_known() -> None:
    assert find_target("otherapp main") == Target(app="otherapp", ref="main")
    assert find_target("good morning everybody") == Target()


def test_text_of_a_message_includes_blocks_and_attachments() -> None:
    message = {
        "text": "New pull request",
        "blocks": [
            {
                "type": "rich_text",
                "elements": [
                    {"type": "rich_text_section", "elements": [{"type": "link", "url": GITHUB}]}
                ],
            },
            {"type": "section", "text": {"type": "mrkdwn", "text": "*shop*"}},
        ],
        "attachments": [{"title": "#3", "title_link": GITHUB + "/pull/3", "fields": None}],
    }
    text = message_text(message)
    assert GITHUB in text
    assert "*shop*" in text
    assert find_target(text, APPS).ref == "refs/pull/3/head"


def test_malformed_messages_have_a_text() -> None:
    assert message_text({"text": None, "blocks": "x", "attachments": [3, None]}) == ""


pieces = st.one_of(
    st.text(max_size=15),
    st.sampled_from(
        ["myapp", "shop", GITHUB + "/", "pull/", "tree/", "<", ">", "|", "@", SHA, "https://[", "-"]
    ),
)


@given(st.lists(pieces, max_size=8).map("".join))
def test_no_text_raises_and_what_is_found_is_valid(text: str) -> None:
    for apps in (APPS, ()):
        found = find_target(text, apps)
        assert found.app is None or is_app(found.app)
        assert found.ref is None or is_ref(found.ref)


json_like = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "blocks", "elements", "url"]), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["text", "blocks", "attachments"]), json_like))
def test_no_message_raises(message: dict[str, object]) -> None:
    find_target(message_text(message), APPS)


def test_everything_that_a_message_names_is_found_the_likeliest_first() -> None:
    text = "https://github.com/acme/shop/pull/5 and myapp@fix-3, or a1b2c3d"
    found = [(one.app, one.ref) for one in find_targets(text)]
    assert found == [
        ("shop", "a1b2c3d"),
        ("shop", "refs/pull/5/head"),
        ("myapp", "fix-3"),
    ]
    assert [(one.app, one.ref) for one in find_targets("https://github.com/acme/shop")] == [
        ("shop", None)
    ]
    assert find_targets("good morning", APPS) == []


@pytest.mark.parametrize(
    "attachment",
    [
        {"pretext": "ada pushed to <https://gitlab.com/acme/shop/-/tree/fix|fix>"},
        {"title": "Build", "fields": [{"title": "Ref", "value": "shop@fix"}]},
        {"author_link": "https://codeberg.org/acme/shop/src/branch/fix"},
        {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "shop@fix"}}]},
        {"actions": [{"type": "button", "url": "https://bitbucket.org/acme/shop/branch/fix"}]},
    ],
)
def test_attachments_of_other_bots_are_read(attachment: dict[str, object]) -> None:
    text = message_text({"text": "", "attachments": [attachment]})
    assert find_target(text) == Target(app="shop", ref="fix")


REQUESTS = {
    "https://github.com/acme/shop/pull/5": "refs/pull/5/head",
    "https://github.example.com/acme/shop/pull/5/files": "refs/pull/5/head",
    "https://gitlab.com/acme/sub/shop/-/merge_requests/5": "refs/merge-requests/5/head",
    "https://git.example.com/acme/shop/-/merge_requests/5#note_1": "refs/merge-requests/5/head",
    "https://bitbucket.org/acme/shop/pull-requests/5/a-title": "refs/pull-requests/5/from",
    "https://codeberg.org/acme/shop/pulls/5": "refs/pull/5/head",
    "https://gitea.example.com/acme/shop/pulls/5/commits": "refs/pull/5/head",
}
"""Pull and merge requests of each forge, and the ref that each names."""


def everywhere(link: str) -> dict[str, dict[str, object]]:
    """A message of another bot with the link in one place."""
    rich = {
        "type": "rich_text",
        "elements": [
            {"type": "rich_text_section", "elements": [{"type": "link", "url": link, "text": "Go"}]}
        ],
    }
    text = {"type": "mrkdwn", "text": f"Merged <{link}|the request>"}
    button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": link}
    return {
        "text": {"text": f"see <{link}>"},
        "labelled": {"text": f"see <{link}|this one>"},
        "section": {"blocks": [{"type": "section", "text": text}]},
        "field": {"blocks": [{"type": "section", "fields": [text]}]},
        "context": {"blocks": [{"type": "context", "elements": [text]}]},
        "rich text": {"blocks": [rich]},
        "button": {"blocks": [{"type": "actions", "elements": [button]}]},
        "accessory": {"blocks": [{"type": "section", "text": text, "accessory": button}]},
        "attachment": {"attachments": [{"title": "Merged", "title_link": link}]},
        "attachment text": {"attachments": [{"text": f"<{link}|#5>", "fallback": "x"}]},
        "blocks of an attachment": {"attachments": [{"blocks": [rich]}]},
        "shared message": {
            "attachments": [{"message_blocks": [{"message": {"blocks": [rich]}}]}],
        },
    }


@pytest.mark.parametrize("link", REQUESTS)
@pytest.mark.parametrize("place", everywhere(""))
def test_request_of_any_forge_is_read_anywhere_in_a_message(link: str, place: str) -> None:
    found = find_target(message_text(everywhere(link)[place]))
    assert (found.app, found.ref) == ("shop", REQUESTS[link])


def test_hidden_value_of_a_button_names_nothing() -> None:
    button = {"type": "button", "text": {"type": "plain_text", "text": "Go"}, "value": "shop@fix"}
    text = message_text({"blocks": [{"type": "actions", "elements": [button]}]})
    assert find_target(text) == Target()
