"""A simulated Dokku host behind a real SSH server, answering from recordings."""
