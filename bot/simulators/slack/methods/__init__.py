"""The Web API methods of the simulated Slack: here you change what it answers.

`chat.postMessage` is in `chat.py`: each module has a class with a `methods()` table (handler,
arguments, scopes, tier) and the handlers below it. `users.py` also answers `usergroups.*`,
`bots.*`, `auth.*` and `apps.*`. Checks of blocks and views that all methods share are in
`validation` and `blockkit`, the JSON of messages, channels and views in `json_objects`.
"""
