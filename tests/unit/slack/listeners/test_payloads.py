from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.listeners.payloads import UNKNOWN_TEAM, asker_of, delivery_key, meta_of, write_meta

COMMAND = {
    "command": "/deploy",
    "text": "myapp",
    "team_id": "T1",
    "user_id": "U1",
    "user_name": "ada",
    "channel_id": "C1",
    "trigger_id": "1.2.3",
    "response_url": "https://hooks.example.com/1",
}
CLICK = {
    "type": "block_actions",
    "user": {"id": "U1", "username": "ada", "team_id": "T1"},
    "team": {"id": "T9"},
    "channel": {"id": "C1"},
    "container": {"message_ts": "5.1", "thread_ts": "4.1"},
    "response_url": "https://hooks.example.com/2",
    "trigger_id": "1.2.4",
    "actions": [{"action_id": "deployment_retry", "action_ts": "6.1", "value": "X"}],
}


def event(**changes: Any) -> dict[str, Any]:
    inner = {"type": "message", "user": "U1", "channel": "C1", "ts": "7.1", **changes}
    return {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": inner}


def test_command_says_who_and_where() -> None:
    asker = asker_of(COMMAND)
    assert (asker.actor.user, asker.actor.team, asker.actor.name) == ("U1", "T1", "ada")
    assert (asker.channel, asker.response_url) == ("C1", "https://hooks.example.com/1")


def test_click_says_the_persons_team_and_the_thread() -> None:
    asker = asker_of(CLICK)
    assert asker.actor.team == "T1"
    assert (asker.channel, asker.thread_ts) == ("C1", "4.1")


def test_modal_carries_its_channel() -> None:
    body = {
        "type": "view_submission",
        "user": {"id": "U1", "team_id": "T1"},
        "view": {"id": "V1", "hash": "h", "private_metadata": write_meta(channel="C1", x=None)},
    }
    assert asker_of(body).channel == "C1"
    assert meta_of(body) == {"channel": "C1"}
    assert delivery_key(body) == "view:V1:h"


@pytest.mark.parametrize(
    ("changes", "shared", "team"),
    [
        ({}, False, "T1"),
        ({"team": "T2"}, False, "T2"),
        ({"team": "T1", "user_team": "T3"}, True, "T3"),
        ({"source_team": "T4"}, True, "T4"),
        ({}, True, UNKNOWN_TEAM),
    ],
)
def test_team_of_an_author_is_never_guessed_in_a_shared_channel(
    changes: dict[str, str], shared: bool, team: str
) -> None:
    assert asker_of({**event(**changes), "is_ext_shared_channel": shared}).actor.team == team


def test_direct_message_is_recognised() -> None:
    assert asker_of(event(channel="D1")).direct
    assert not asker_of(event()).direct


def test_message_and_its_mention_are_one_delivery() -> None:
    mention = {**event(type="app_mention"), "event_id": "Ev2"}
    assert delivery_key(event()) == delivery_key(mention) == "event:C1:7.1"
    other = {"type": "event_callback", "event_id": "Ev3", "event": {"type": "app_home_opened"}}
    assert delivery_key(other) == "event:Ev3"


def test_two_clicks_differ_but_a_repeated_one_does_not() -> None:
    again = {**CLICK, "actions": [{**CLICK["actions"][0], "action_ts": "6.2"}]}  # type: ignore[index]
    assert delivery_key(CLICK) == delivery_key(dict(CLICK))
    assert delivery_key(CLICK) != delivery_key(again)
    assert delivery_key(COMMAND) == "command:1.2.3"
    assert delivery_key({"type": "message_action", "trigger_id": "9"}) == "message_action:9"


@pytest.mark.parametrize("metadata", ["", "{", "[]", "null", '{"a": 1}', 5])
def test_private_metadata_of_another_shape_reads_as_empty(metadata: object) -> None:
    assert meta_of({"view": {"private_metadata": metadata}}) == {}


json_like = st.recursive(
    st.none() | st.text(max_size=4) | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    ["type", "event", "user", "team", "view", "actions", "container", "command", "channel"]
)


@given(st.dictionaries(keys, json_like))
def test_no_body_raises(body: dict[str, object]) -> None:
    asker_of(body)
    assert delivery_key(body)
