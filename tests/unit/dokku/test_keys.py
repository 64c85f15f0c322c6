import asyncssh
import pytest

from bot.config.keys import SshTarget
from bot.dokku.keys import load_known_hosts, load_private_key

KEY = asyncssh.generate_private_key("ssh-ed25519")
PEM = KEY.export_private_key().decode()
PUBLIC = KEY.export_public_key().decode()


@pytest.mark.parametrize(
    "text",
    [PEM, PEM.strip(), PEM.replace("\n", "\\n"), f"\n{PEM}\n"],
    ids=["as it is", "stripped", "escaped", "padded"],
)
def test_a_key_is_read_in_every_spelling(text: str) -> None:
    assert load_private_key(text).get_fingerprint() == KEY.get_fingerprint()


def test_a_protected_key_needs_its_passphrase() -> None:
    text = KEY.export_private_key(passphrase="open sesame").decode()
    assert load_private_key(text, "open sesame").get_fingerprint() == KEY.get_fingerprint()
    with pytest.raises(ValueError, match="protected by a passphrase, and none was given"):
        load_private_key(text)
    with pytest.raises(ValueError, match="does not open the private key"):
        load_private_key(text, "wrong")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(PUBLIC, "is a public key"), ("nonsense", "is not a private key"), ("", "not a private key")],
    ids=["public", "nonsense", "empty"],
)
def test_what_is_no_private_key_is_named(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_private_key(text)


def test_known_hosts_are_lines_of_their_format() -> None:
    load_known_hosts(f"# ours\n[dokku.example]:2222 {PUBLIC}")
    with pytest.raises(ValueError, match="not lines in the known_hosts format"):
        load_known_hosts("garbage")
    with pytest.raises(ValueError, match="no server could be trusted"):
        load_known_hosts("# nothing\n")


def test_a_target_does_not_print_its_key() -> None:
    target = SshTarget(host="dokku.example", key=PEM, passphrase="sesame", known_hosts="")
    assert "PRIVATE" not in repr(target)
    assert "sesame" not in repr(target)
