"""Dokku over SSH: argv out, reports in, one connection manager per server."""
