"""What the outside is sent: outbox rows, and the lanes that deliver them in order."""
