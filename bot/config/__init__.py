"""Settings: environment over .env over deploybot.toml over defaults."""
