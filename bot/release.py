"""Which release this is. `version` in pyproject.toml is the only place that says it."""

from functools import cache
from importlib.metadata import version

DISTRIBUTION = "dokku-deploybot"


@cache
def release() -> str:
    """`0.1.0`, as it was installed."""
    return version(DISTRIBUTION)
