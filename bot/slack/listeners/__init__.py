"""What people do in Slack: each payload becomes a service call and a reply."""
