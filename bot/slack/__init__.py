"""Slack: listeners turn payloads into service calls; the live message converges to the state."""
