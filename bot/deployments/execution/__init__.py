"""Running deployments: one worker workers one deployment from its start to its result."""
