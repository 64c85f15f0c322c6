"""Performance figures, quoted in docs/operations.md: `make bench` prints them as JSON.

Each module in `__main__.NAMES` measures one thing in `measure()`; the others are helpers.
The tests never run them.
"""
