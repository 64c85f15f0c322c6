"""Evidence in, verdict out. Only the collectors talk to a server."""
