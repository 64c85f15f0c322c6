"""For all tests: no timed assertions, Hypothesis's own deadline included."""

import gc
import shutil
from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

from bot.names import COMMAND, set_command

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")

PROGRAMS = {
    "browser": ("chromium", "chromium-browser", "google-chrome"),
    "git": ("git",),
}
"""What the tests with a marker start; one program of the group is enough."""
LANGUAGES = {"node": ("node",), "go": ("go",)}
"""Languages of examples on the pages: neither developers nor CI need them."""
LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--installed-only",
        action="store_true",
        help="leave out the tests whose programs are missing here, and say which (make unit)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    needed = LANGUAGES | (PROGRAMS if config.getoption("--installed-only") else {})
    missing = [marker for marker, names in needed.items() if not any(map(shutil.which, names))]
    left_out = [one for one in items if any(one.get_closest_marker(name) for name in missing)]
    items[:] = [one for one in items if one not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = [f"{len(left_out)} tests: no {', '.join(missing)}"] if left_out else []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(f"left out {line}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget what an earlier test set: the name of the command, and where the log goes."""
    set_command(COMMAND)
    # By default each error is drawn with its variables, which took seconds on a busy machine: the
    # bot that a test watches answered late.
    plain = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.reset_defaults()
    structlog.configure([*structlog.get_config()["processors"][:-1], plain])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep modules and collected tests out of every garbage collection.

    While they are made, each collection went through all of them, a sixth of the time. Later the
    scenarios collect after each test, to find errors that nothing handled: 0.2 s each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
