"""The domain: what a deployment is, how it moves and ends. Imports no I/O library."""
