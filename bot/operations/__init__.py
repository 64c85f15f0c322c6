"""What operators do in a shell: check, status, cancel, webhooks, database, settings.

Functions return lines or plain data; `bot.cli` prints them. May import everything below the CLI.
"""
