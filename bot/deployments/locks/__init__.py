"""Locks: who may deploy a locked app, and who gets a message about it."""
