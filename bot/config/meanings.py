"""The sentence below each field of a class, read from its source when somebody needs it.

Pydantic can read them too, but does so at each start: a twentieth of it, for nothing but the
messages about wrong settings and the page that lists them all.
"""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise


@cache
def meanings(table: type) -> Mapping[str, str]:
    """By field; none of them where the source is not installed."""
    try:
        source = inspect.getsource(table)
    except OSError:
        return {}
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - a class is defined by one
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
