"""What serves now, and which commit can be rolled back to. Never imports execution."""
