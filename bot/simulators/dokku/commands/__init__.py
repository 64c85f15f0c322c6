"""The commands of the simulated Dokku: here you change what it answers.

A verb such as `builds:list` is answered by a function in the module of its prefix (`builds.py`),
listed in the `COMMANDS` table at the end of that module. `dispatch.py` joins the tables.
"""
