"""Outgoing webhooks: payload (public contract), guard, sender."""
