"""Simulators of everything around the bot, for `deploybot demo`, the benches and the tests.

- `slack/`: a Slack workspace with a web page
- `dokku/`: a Dokku server behind SSH
- `forge`: git repositories over HTTP
- `receiver`: a webhook receiver
- `environment`: starts all of them and gives the settings that point the bot at them
- `bot_process`: runs `deploybot run` as a child process
- `demo`: `deploybot demo`

The simulated Slack and Dokku import nothing of the bot; an import contract checks it. Each
package's docstring says where to change an answer.
"""
