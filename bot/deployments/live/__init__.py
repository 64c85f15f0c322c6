"""What serves now, and which commit a rollback deploys. Never imports execution."""
