"""The commands of the simulated Dokku, by their name."""
