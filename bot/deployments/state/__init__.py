"""What this process knows of deployments: writes, the cache, and keeping it up to date."""
