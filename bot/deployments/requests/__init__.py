"""What people ask for: checked, looked up, posted and queued. Never imports execution."""
