"""Waiting deployments: order, positions, and how they leave. Never imports execution."""
