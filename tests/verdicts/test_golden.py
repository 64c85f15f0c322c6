"""The golden file of outcomes: a change of the rules' shape must not change what they say."""

import json

from tests.verdicts.golden import PATH, golden


def test_rules_give_the_golden_outcomes() -> None:
    kept = json.loads(PATH.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(golden()))
    assert now["rows"] == kept["rows"]
    assert now["decisions"] == kept["decisions"]
    assert now["watches"] == kept["watches"]
