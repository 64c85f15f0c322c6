"""A Slack bot that deploys apps to Dokku and tells the truth about it."""
