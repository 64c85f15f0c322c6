"""Private keys and host keys as settings give them, ready for asyncssh."""

import asyncssh


def load_private_key(text: str, passphrase: str | None = None) -> asyncssh.SSHKey:
    """A private key from its PEM text, with real newlines or with a backslash and an n.

    ValueError: one sentence that says what is wrong and never quotes the key. An encrypted key
    takes about 0.1 s of CPU time, so load it once.
    """
    pem = text.strip().replace("\\n", "\n") + "\n"
    try:
        return asyncssh.import_private_key(pem, passphrase or None)
    except asyncssh.KeyEncryptionError:
        raise ValueError("The passphrase does not open the private key.") from None
    except asyncssh.KeyImportError as err:
        # The library has no class of its own for this.
        if "Passphrase must be specified" in str(err):
            raise ValueError(
                "The private key is protected by a passphrase, and none was given."
            ) from None
        kind = "a public key" if pem.startswith(("ssh-", "ecdsa-")) else "not a private key"
        raise ValueError(f"The text given as private key is {kind}.") from None


def load_known_hosts(text: str) -> asyncssh.SSHKnownHosts:
    """Lines in the known_hosts format. ValueError: one sentence."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError("There is no host key in known_hosts, so no server could be trusted.")
    try:
        return asyncssh.import_known_hosts("\n".join(lines) + "\n")
    except ValueError:
        raise ValueError("The known hosts are not lines in the known_hosts format.") from None
