"""The truth test: random deployments and faults, judged by the journal of the simulated Dokku.

`python -m tests.truth` runs it. The bot is a process of its own, so that a kill is a kill;
everything around it lives in the process that judges.
"""
