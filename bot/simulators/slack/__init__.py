"""A strict simulated Slack workspace with a web page."""
