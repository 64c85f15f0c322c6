"""Handles what people do in Slack: each request becomes a service call and an answer."""
