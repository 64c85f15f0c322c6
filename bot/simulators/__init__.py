"""A Slack, a Dokku and a webhook receiver for demo and tests; they know none of our code."""
