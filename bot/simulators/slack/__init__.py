"""A strict simulated Slack workspace with a web page: `deploybot demo` and the tests run it.

`simulator.open_slack` starts one. It knows Slack and none of our code: only `bot.simulators.demo`
and tests may import it, and it imports nothing of `bot` outside this package.
"""
