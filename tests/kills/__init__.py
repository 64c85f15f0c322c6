"""Kill -9 at any instant: the bot starts again, and nothing is lost, doubled or untrue."""
