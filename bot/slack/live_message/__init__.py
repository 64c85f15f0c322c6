"""The one message of a deployment: posted once, then edited until it shows the newest state."""
