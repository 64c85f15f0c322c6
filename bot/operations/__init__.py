"""What operators do at a shell: check, look, cancel, replay, upgrade, print the manifest.

Functions return lines or plain data; `bot.cli` prints them. May import everything below the CLI.
"""
