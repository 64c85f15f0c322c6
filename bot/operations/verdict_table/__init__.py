"""The verdict's table as data: evidence of every kind, and the recording that it was seen in.

`docs/verdicts.md` is made from it by asking the rules themselves; tests hold the rows against
the recordings.
"""
