"""Running deployments: one worker drives one deployment from its start to its result."""
