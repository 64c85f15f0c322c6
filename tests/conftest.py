"""For all tests: no timed assertions, Hypothesis's own deadline included."""

from hypothesis import settings

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")
