"""The form that starts a deployment."""

from collections.abc import Callable
from typing import Any

import pytest

from bot.simulators.slack.validation import check_view
from bot.slack.render.form import FormValues, deploy_form, read_form

APPS = ("shop", "blog", "myapp")


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
    view = form(prefill=FormValues(app="myapp", ref="main"), metadata='{"channel": "C1"}')
    check_snapshot("form", view)
    options = inputs(view)["app"]["options"]
    assert [option["value"] for option in options] == ["blog", "myapp", "shop"]
    assert inputs(view)["app"]["initial_option"]["value"] == "myapp"
    assert inputs(view)["ref"]["initial_value"] == "main"
    assert "server" not in inputs(view)


@pytest.mark.parametrize(
    "apps", [(), tuple(f"app-{number}" for number in range(101)), ("x" * 80, "y")]
)
def test_apps_that_cannot_be_listed_are_typed(apps: tuple[str, ...]) -> None:
    assert inputs(form(apps=apps))["app"]["type"] == "plain_text_input"


def test_found_app_that_is_not_in_the_list_can_be_typed() -> None:
    element = inputs(form(prefill=FormValues(app="newcomer")))["app"]
    assert (element["type"], element["initial_value"]) == ("plain_text_input", "newcomer")


def test_form_asks_for_the_server_if_there_are_several() -> None:
    view = form(servers=["production", "staging"], prefill=FormValues(server="staging"))
    assert inputs(view)["server"]["initial_option"]["value"] == "staging"
    [block] = [block for block in view["blocks"] if block.get("block_id") == "server"]
    assert block["optional"] is True


def test_prefill_that_slack_would_refuse_is_left_out() -> None:
    assert "initial_value" not in inputs(form(prefill=FormValues(ref="x" * 300)))["ref"]


def test_form_cannot_be_submitted_before_the_apps_are_known() -> None:
    view = form(ready=False)
    assert "submit" not in view
    assert inputs(view) == {}
    assert "Found in the message" in str(form(note="Found in the message: myapp"))


def test_submitted_values_are_read() -> None:
    values = {
        "app": {"value": {"type": "static_select", "selected_option": {"value": "myapp"}}},
        "ref": {"value": {"type": "plain_text_input", "value": " main "}},
        "server": {"value": {"type": "static_select", "selected_option": None}},
    }
    assert read_form({"state": {"values": values}}) == FormValues(app="myapp", ref="main")


@pytest.mark.parametrize(
    "view",
    [{}, {"state": None}, {"state": {"values": []}}, {"state": {"values": {"app": {"value": 1}}}}],
)
def test_malformed_submission_reads_as_empty(view: dict[str, Any]) -> None:
    assert read_form(view) == FormValues()
