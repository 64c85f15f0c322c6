"""Locks: who may deploy an app meanwhile, and who is told what about that."""
