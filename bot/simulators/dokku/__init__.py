"""A simulated Dokku host behind a real SSH server, answering from recordings.

Where to change what:

- the answer to a verb (`apps:report`): `commands/`, in the module of its prefix
- the text and steps of a deploy: `procedures`, `building`, `releasing`
- how a deploy can fail: the table in `behaviours`
- how a recorded deploy is replayed: `replay`, `recorded_answers`
- SSH logins and channels: `sshd`; network faults: `network`
- controls for tests: `host`, `host_state` and `sshd`, methods that end in `_for_test`

Imports go one way, from `sshd` at the top to `model` at the bottom; an import contract in
pyproject.toml lists the order. The commands work on `HostState` and `App`, never on `DokkuHost`.
"""
