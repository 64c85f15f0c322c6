"""A Slack, a Dokku and a webhook receiver for the demo and the tests; they know none of our code."""
