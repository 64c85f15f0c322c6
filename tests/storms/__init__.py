"""Storms: many deployments at once while everything around the bot fails."""
