"""For all tests: no timed assertions, Hypothesis's own deadline included."""

import gc

from hypothesis import settings

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")


def pytest_collection_finish() -> None:
    """Keep modules and collected tests out of every later `gc.collect()`.

    The scenarios collect after each test, to hear of errors that nobody looked at; going through
    all that pytest keeps took 0.2 s each time.
    """
    gc.collect()
    gc.freeze()
