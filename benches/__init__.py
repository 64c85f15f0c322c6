"""The figures of docs/operations.md: `make bench` prints them as JSON. Never part of the tests."""
