"""The golden file: what the rules say of all rows and of all generated evidence.

`python -m tests.verdicts.golden` writes it; only a change that is meant to change an outcome may.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.verdicts.answers import ask, outcome
from tests.verdicts.generated import decisions, watches
from tests.verdicts.rows import ROWS

PATH = Path(__file__).with_name("golden.json")
LETTERS = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-=!?#%&*<>@^~;:.,_|()[]{}"
)
LINE = 100


def golden() -> dict[str, object]:
    """All of it. Of generated evidence each distinct outcome has a letter, 100 to a line."""
    return {
        "rows": [outcome(ask(row.question)) for row in ROWS],
        "decisions": _packed(outcome(ask(one)) for one in decisions()),
        "watches": _packed(outcome(ask(one)) for one in watches()),
    }


def _packed(outcomes: Iterable[str]) -> dict[str, object]:
    said = list(outcomes)
    letters = dict(zip(sorted(set(said)), LETTERS, strict=False))
    text = "".join(letters[one] for one in said)
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return {"letters": {letter: one for one, letter in letters.items()}, "outcomes": lines}


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden(), indent=1) + "\n", encoding="utf-8")
