"""SSH keys and host keys: every form that is accepted, and every error."""

import base64
from pathlib import Path

import asyncssh
import pytest

from tests.support.settings import HOST, a_key, host_line, load, pem, refused


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\\n"),
        lambda text: text.replace("\n", "\\r\\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " "),
        lambda text: text.strip(),
        lambda text: "  \n" + text + "\n\n",
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.encodebytes(text.encode()).decode(),
    ],
    ids=["as it is", "backslash n", "backslash r n", "crlf", "blanks", "stripped", "padded",
         "base64", "base64 in lines"],
)  # fmt: skip
def test_key_text_survives_changes_by_platforms(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)

    assert load(tmp_path, DOKKU_SSH_KEY=spoil(pem())).servers["default"].key == a_key()


def test_key_can_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(pem())

    assert load(tmp_path, DOKKU_SSH_KEY="key").servers["default"].key == a_key()
    absolute = str(tmp_path / "key")
    assert load(tmp_path, DOKKU_SSH_KEY=absolute).servers["default"].key == a_key()


def test_key_in_pkcs8_format(tmp_path: Path) -> None:
    pkcs8 = a_key().export_private_key("pkcs8-pem").decode()

    assert load(tmp_path, DOKKU_SSH_KEY=pkcs8).servers["default"].key == a_key()


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("no/such/file", "DOKKU_SSH_KEY: the file cannot be read (No such file or directory)."),
        (".", "DOKKU_SSH_KEY: the file cannot be read (Is a directory)."),
        ("several\nlines of nonsense", "DOKKU_SSH_KEY: neither a private key nor a path."),
        ("x" * 5000, "DOKKU_SSH_KEY: neither a private key nor a path."),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabcd\n-----END OPENSSH PRIVATE KEY-----",
            "DOKKU_SSH_KEY: not a private key that SSH can use.",
        ),
    ],
)
def test_invalid_key_is_refused(tmp_path: Path, value: str, line: str) -> None:
    said = refused(tmp_path, DOKKU_SSH_KEY=value)

    assert line in said
    assert "xxxx" not in said


def test_public_key_is_refused_as_private_key(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(a_key().export_public_key().decode())

    assert "not a private key" in refused(tmp_path, DOKKU_SSH_KEY="key.pub")


def test_binary_file_is_refused_as_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(range(256)))

    assert "does not contain a private key" in refused(tmp_path, DOKKU_SSH_KEY="key")


# A passphrase that is slow to try takes seconds here.
@pytest.mark.filterwarnings("ignore:Warning. bcrypt.kdf")
@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem"])
def test_missing_and_wrong_passphrases(tmp_path: Path, form: str) -> None:
    locked = a_key().export_private_key(form, passphrase="right", rounds=1).decode()

    missing = refused(tmp_path, DOKKU_SSH_KEY=locked)
    wrong = refused(tmp_path, DOKKU_SSH_KEY=locked, DOKKU_SSH_KEY_PASSPHRASE="hunter22")

    assert "DOKKU_SSH_KEY_PASSPHRASE: missing, and the private key has one." in missing
    assert "DOKKU_SSH_KEY_PASSPHRASE: does not open the private key." in wrong
    assert "hunter22" not in wrong
    server = load(tmp_path, DOKKU_SSH_KEY=locked, DOKKU_SSH_KEY_PASSPHRASE="right").servers
    assert server["default"].key == a_key()
    assert "PRIVATE" not in repr(server["default"])


def test_wrong_key_in_the_file_is_named_by_its_path(tmp_path: Path) -> None:
    toml = f'[servers.production]\nhost = "{HOST}"\nssh_key = "nokey"\nknown_hosts = "nofile"\n'

    line = refused(tmp_path, toml=toml, DOKKU_HOST=None, DOKKU_SSH_KEY=None, DOKKU_KNOWN_HOSTS=None)

    assert line.startswith("deploybot.toml: servers.production.ssh_key: the file cannot be read")


def keys_of(known: asyncssh.SSHKnownHosts, host: str) -> int:
    keys, *_ = asyncssh.match_known_hosts(known, host, "", 22)
    return len(keys)


def test_known_hosts_can_be_a_path_or_lines(tmp_path: Path) -> None:
    (tmp_path / "known").write_text(f"# a comment\n{host_line()}\n")
    several = f"{host_line('other.example.com')}\\n{host_line()}"

    one = load(tmp_path, DOKKU_KNOWN_HOSTS="known").servers["default"].known_hosts
    two = load(tmp_path, DOKKU_KNOWN_HOSTS=several).servers["default"].known_hosts
    assert [keys_of(one, host) for host in (HOST, "other.example.com")] == [1, 0]
    assert [keys_of(two, host) for host in (HOST, "other.example.com")] == [1, 1]


def test_known_hosts_must_contain_the_host(tmp_path: Path) -> None:
    line = refused(tmp_path, DOKKU_KNOWN_HOSTS=host_line("other.example.com"), DOKKU_PORT="2222")

    assert f"DOKKU_KNOWN_HOSTS: no line is about {HOST}." in line
    assert f"ssh-keyscan -p 2222 {HOST}" in line


@pytest.mark.parametrize("host", [f"[{HOST}]:2222", HOST, "203.0.113.7", "*.example.com"])
def test_known_hosts_with_addresses_and_patterns(tmp_path: Path, host: str) -> None:
    """A line about an address may match once the name is looked up."""
    assert load(tmp_path, DOKKU_KNOWN_HOSTS=host_line(host), DOKKU_PORT="2222").servers


def test_unreadable_known_hosts_are_refused(tmp_path: Path) -> None:
    assert "DOKKU_KNOWN_HOSTS: the file cannot be read" in refused(
        tmp_path, DOKKU_KNOWN_HOSTS="nofile"
    )


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (f"{host_line()}\ngarbage", "not lines of a known_hosts file"),
        ("# nothing\n# else", "neither a host key line nor a path"),
    ],
)
def test_odd_known_hosts_are_refused(tmp_path: Path, lines: str, problem: str) -> None:
    line = refused(tmp_path, DOKKU_KNOWN_HOSTS=lines)

    assert f"DOKKU_KNOWN_HOSTS: {problem}." in line
