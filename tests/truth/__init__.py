"""The truth test: random deployments and faults, judged by the simulated Dokku's journal.

`python -m tests.truth` runs it. The bot runs in its own process, so that it can be killed; the
simulators run in the process that judges.
"""
