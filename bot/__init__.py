"""A Slack bot that deploys apps to Dokku and verifies every result it reports."""
