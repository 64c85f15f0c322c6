"""The form that starts a deployment."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.simulators.slack.blockkit import external_options
from bot.simulators.slack.validation import check_view
from bot.slack.render.form import (
    MOST_OPTIONS,
    FormValues,
    app_options,
    block_ids,
    deploy_form,
    read_form,
    ref_options,
    with_facts,
    with_values,
)
from tests.unit.slack.render.test_render_properties import FOREIGN, assert_harmless, mrkdwn_of

APPS: Mapping[str, Sequence[str]] = dict.fromkeys(("shop", "blog", "myapp"), ("production",))


def form(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"apps": APPS, "servers": ["production"], "metadata": "{}"}
    view = deploy_form(**{**values, **changes})
    check_view(view, kind="modal")
    return view


def inputs(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {block["block_id"]: block["element"] for block in view["blocks"] if "element" in block}


def test_apps_are_chosen_from_a_sorted_list(
    check_snapshot: Callable[[str, object], None],
) -> None:
    view = form(
        prefill=FormValues(app="myapp", ref="main"),
        metadata='{"channel": "C1"}',
        facts=("`a1b2c3d` is live",),
    )
    check_snapshot("form", view)
    options = inputs(view)["app"]["options"]
    assert [option["value"] for option in options] == ["blog", "myapp", "shop"]
    assert inputs(view)["app"]["initial_option"]["value"] == "myapp"
    assert inputs(view)["ref"]["initial_option"]["value"] == "main"
    assert "server" not in inputs(view)


def test_apps_are_grouped_by_server() -> None:
    apps = {"shop": ("production", "staging"), "blog": ("staging",), "web": ("staging",)}
    groups = inputs(form(apps=apps, servers=["production", "staging"]))["app"]["option_groups"]
    assert [
        (group["label"]["text"], [one["value"] for one in group["options"]]) for group in groups
    ] == [("production, staging", ["shop"]), ("staging", ["blog", "web"])]


def test_many_apps_are_searched() -> None:
    many = {f"app-{number}": ("production",) for number in range(101)}
    assert inputs(form(apps=many))["app"]["type"] == "external_select"


def test_unknown_apps_are_typed() -> None:
    view = form(apps={})
    assert inputs(view)["app"]["type"] == "plain_text_input"
    assert view["blocks"][0]["dispatch_action"] is False


def test_found_app_that_is_not_in_the_list_is_kept() -> None:
    element = inputs(form(prefill=FormValues(app="newcomer")))["app"]
    assert element["initial_option"]["value"] == "newcomer"


def test_form_asks_for_the_server_if_there_are_several() -> None:
    view = form(servers=["production", "staging"], prefill=FormValues(server="staging"))
    assert inputs(view)["server"]["initial_option"]["value"] == "staging"
    [block] = [block for block in view["blocks"] if block.get("block_id") == "server"]
    assert block["optional"] is True


def test_ref_that_no_option_can_hold_is_typed() -> None:
    element = inputs(form(prefill=FormValues(ref="x" * 200)))["ref"]
    assert (element["type"], element["initial_value"]) == ("plain_text_input", "x" * 200)
    assert "initial_value" not in inputs(form(prefill=FormValues(ref="x" * 300)))["ref"]


def test_form_cannot_be_submitted_before_the_apps_are_known() -> None:
    view = form(ready=False)
    assert "submit" not in view
    assert inputs(view) == {}
    assert "Found in the message" in str(form(note="Found in the message: myapp"))


def test_several_readings_are_choices_and_a_chosen_one_fills_the_fields_anew() -> None:
    choices = [FormValues(app="myapp", ref="main"), FormValues(app="shop")]
    view = form(choices=choices, prefill=choices[0])
    (choice,) = [one for one in view["blocks"] if one.get("block_id") == "form_choice"]
    labels = [one["text"]["text"] for one in choice["accessory"]["options"]]
    assert labels == ["myapp · main", "shop · default branch"]
    changed = with_values(view, choices[1], generation=1)
    check_view(changed, kind="modal")
    ids = block_ids(changed)
    assert (ids["form_choice"], ids["app"], ids["ref"]) == ("form_choice", "app-1", "ref-1")
    assert inputs(changed)["app-1"]["initial_option"]["value"] == "shop"
    assert "initial_option" not in inputs(changed)["ref-1"]
    again = with_values(changed, choices[0], generation=2)
    assert inputs(again)["ref-2"]["initial_option"]["value"] == "main"


def test_other_facts_leave_the_fields_alone() -> None:
    view = form(prefill=FormValues(app="myapp"), facts=("looking …",))
    changed = with_facts(view, ("`a1b2c3d` is live",), metadata="{}")
    assert inputs(changed) == inputs(view)
    assert "looking" not in str(changed)
    assert "a1b2c3d" in str(changed["blocks"][-1])
    assert len(with_facts(changed, (), metadata="{}")["blocks"]) == len(changed["blocks"]) - 1


def test_refs_that_begin_with_the_typed_text_come_first_and_it_can_always_be_chosen() -> None:
    names = [("main", "branch"), ("fix-main", "branch"), ("v2", "tag")]
    assert [one["value"] for one in ref_options(names, "")] == ["main", "fix-main", "v2"]
    assert [one["value"] for one in ref_options(names, "mai")] == ["main", "fix-main", "mai"]
    assert [one["value"] for one in ref_options(names, "main")] == ["main", "fix-main"]
    assert [one["value"] for one in ref_options(names, "mian")] == ["main", "mian"]
    assert [one["value"] for one in ref_options((), "a1b2c3d")] == ["a1b2c3d"]
    assert [one["value"] for one in app_options(APPS, "O")] == ["shop", "blog"]


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(st.tuples(FOREIGN, st.sampled_from(["branch", "tag"])), max_size=150),
    typed=FOREIGN,
)
def test_slack_accepts_whatever_is_offered(names: list[tuple[str, str]], typed: str) -> None:
    for options in (ref_options(names, typed), app_options([one for one, _ in names], typed)):
        problems: list[str] = []
        external_options({"options": options}, "", problems)
        assert problems == []
        assert len(options) <= MOST_OPTIONS


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_foreign_text_is_harmless_in_the_form(data: st.DataObject) -> None:
    def foreign() -> str | None:
        return data.draw(st.one_of(st.none(), FOREIGN))

    values = FormValues(app=foreign(), ref=foreign(), server=foreign())
    other = FormValues(app=foreign(), ref=foreign())
    view = deploy_form(
        apps={foreign() or "app": (foreign() or "server",) for _ in range(4)},
        servers=("production", "staging"),
        metadata="{}",
        prefill=values,
        choices=(values, other),
        note=foreign(),
    )
    for shown in (view, with_values(view, other, generation=1)):
        check_view(json.loads(json.dumps(shown)), kind="modal")
        for node in mrkdwn_of(shown):
            assert_harmless(node["text"])


def test_submitted_values_are_read() -> None:
    values = {
        "app": {"app": {"type": "static_select", "selected_option": {"value": "myapp"}}},
        "ref-3": {"ref": {"type": "plain_text_input", "value": " main "}},
        "server": {"server": {"type": "static_select", "selected_option": None}},
    }
    assert read_form({"state": {"values": values}}) == FormValues(app="myapp", ref="main")


@pytest.mark.parametrize(
    "view",
    [{}, {"state": None}, {"state": {"values": []}}, {"state": {"values": {"app": {"app": 1}}}}],
)
def test_malformed_submission_reads_as_empty(view: dict[str, Any]) -> None:
    assert read_form(view) == FormValues()
