"""Waiting deployments: their order, positions and removal. Never imports execution."""
