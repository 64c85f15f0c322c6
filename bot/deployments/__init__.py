"""The domain: what a deployment is and how it moves and ends. Imports no I/O library."""
