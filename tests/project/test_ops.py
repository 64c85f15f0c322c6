"""The dashboard and the alert rules ask only for metrics and labels that the bot has."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from bot.metrics import Metrics

OPS = Path(__file__).parents[2] / "ops"
NAME = re.compile(r"\bdeploybot_[a-z_]+")
SELECTED = re.compile(r"\bdeploybot_[a-z_]+\{(?P<inside>[^}]*)\}")
BY = re.compile(r"\bby \((?P<inside>[^)]*)\)")
OF_PROMETHEUS = {"le", "instance", "job"}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def labels_by_name() -> Mapping[str, frozenset[str]]:
    return {
        f"{one.name}{suffix}": frozenset(one.labels)
        for one in Metrics().described()
        for suffix in SUFFIXES[one.kind]
    }


def expressions() -> Iterator[str]:
    for group in yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((OPS / "grafana-dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("expression", list(expressions()))
def test_metrics_and_labels_exist(expression: str) -> None:
    known = labels_by_name()
    names = set(NAME.findall(expression))
    assert names
    assert names <= set(known)
    used = {
        label.partition("=")[0].strip()
        for part in (*SELECTED.finditer(expression), *BY.finditer(expression))
        for label in part["inside"].split(",")
    }
    for name in names:
        assert used - OF_PROMETHEUS <= known[name], (name, used)


def test_four_alerts_with_texts() -> None:
    (group,) = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    assert len(group["rules"]) == 4
    for rule in group["rules"]:
        assert rule["for"]
        assert set(rule["annotations"]) == {"summary", "description"}
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = {label for part in BY.finditer(rule["expr"]) for label in part[1].split(", ")}
        assert named <= grouped


def test_every_metric_of_the_contract_is_on_the_dashboard_or_explained() -> None:
    shown = set(NAME.findall(" ".join(expressions())))
    plain = {name.removesuffix("_bucket") for name in shown}
    missing = {one.name for one in Metrics().described()} - plain
    # By result, and by server, says more; connections are for the search of a fault.
    assert missing == {"deploybot_deployment_seconds", "deploybot_ssh_connections"}
