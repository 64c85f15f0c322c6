"""The one way to write a deployment: the store, then the cache, then its message."""
