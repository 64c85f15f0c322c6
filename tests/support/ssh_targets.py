"""Make an SshTarget from the texts of its keys."""

import asyncssh

from bot.ssh_target import SshTarget


def ssh_target(
    *, pem: str, known_hosts: str, host: str = "127.0.0.1", port: int = 22, user: str = "dokku"
) -> SshTarget:
    return SshTarget(
        host=host,
        port=port,
        user=user,
        key=asyncssh.import_private_key(pem),
        known_hosts=asyncssh.import_known_hosts(known_hosts),
    )


def target_without_server(host: str = "127.0.0.1", port: int = 22) -> SshTarget:
    """A target with a new key, for an address where no Dokku answers."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    return SshTarget(
        host=host,
        port=port,
        key=key,
        known_hosts=asyncssh.import_known_hosts(f"* {key.export_public_key().decode()}"),
    )
