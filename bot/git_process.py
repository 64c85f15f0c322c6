"""Runs git: it may not prompt, read settings or outlive the bot, and its output is bounded."""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bot.redaction import Redactor

_WHY_CHARS = 300
_COMPLAINT = re.compile(r"(?:fatal|error|ERROR|ssh): |Host key verification failed")
# What git needs to reach the network; not the bot's settings, which hold secrets.
_PASSED_ON = frozenset(
    {
        *("PATH", "LANG", "TMPDIR", "USER", "LOGNAME", "SSH_AUTH_SOCK"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    }
)


class GitFailed(Exception):
    """Why git did not do it, in git's words, redacted."""


class Git:
    """Each question is a subprocess in a folder of its own."""

    def __init__(
        self,
        credentials: str | None,
        *,
        redactor: Redactor | None,
        allow_protocols: str,
        most_bytes: int,
    ) -> None:
        """`credentials`: git-credential-store lines. `most_bytes`: kept of an answer."""
        self.most_bytes = most_bytes
        self.redactor = (redactor or Redactor()).with_known(_secrets(credentials or ""))
        self._credentials = credentials or ""
        self._allow_protocols = allow_protocols

    def remote(self, folder: str) -> Sequence[str]:
        """The beginning of a command that asks a repository: git with the credentials."""
        options = ["-c", "credential.helper=", "-c", "core.askPass="]
        if self._credentials:
            path = _write_secret(folder, self._credentials.rstrip() + "\n")
            options += ["-c", f"credential.helper=store --file='{path}'"]
        return ["git", *options]

    async def local(self, folder: str, *words: str) -> str:
        """Run git on the repository in the folder, without a network. Raises GitFailed."""
        printed = await self.run(folder, ["git", *words], offline=True)
        return printed.decode("utf-8", "replace")

    async def run(
        self, folder: str, argv: Sequence[str], *, unless: bytes = b"", offline: bool = False
    ) -> bytes:
        """Run git in a process group of its own; what it prints. Raises GitFailed.

        It is killed as soon as it complains of `unless`.
        """
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=folder,
            env=self._environment(folder, offline=offline),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            stdout, stderr = await asyncio.gather(
                self._read(process.stdout), self._read(process.stderr, unless)
            )
            if await process.wait() != 0:
                raise GitFailed(self._why(stderr))
            return stdout
        finally:
            # git's helpers (ssh, git-remote-https) are in its process group. Once git is
            # reaped, another group may have its number.
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    def _environment(self, folder: str, *, offline: bool) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        return kept | {
            "HOME": folder,
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(Path(folder).parent),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": "" if offline else self._allow_protocols,
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=4",
        }

    def _why(self, stderr: bytes) -> str:
        lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
        said = [line for line in lines if line]
        complaint = next((line for line in said if _COMPLAINT.match(line)), None)
        text = complaint or (said[-1] if said else "git gave no reason")
        return self.redactor.text(text)[:_WHY_CHARS]

    async def _read(self, stream: asyncio.StreamReader | None, unless: bytes = b"") -> bytes:
        """Read everything and keep it up to a limit. Raises GitFailed if it contains `unless`."""
        kept = bytearray()
        while stream is not None and (data := await stream.read(65_536)):
            if len(kept) < self.most_bytes:
                kept += data
            if unless and unless in kept:
                raise GitFailed(unless.decode())
        return bytes(kept)


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """A new folder for each question: git edits the credentials file when a login fails."""
    # What a killed git left may vanish while it is removed.
    return tempfile.TemporaryDirectory(prefix="deploybot-git-", ignore_cleanup_errors=True)


def _write_secret(folder: str, text: str) -> Path:
    """Write a file that only the bot's user may read."""
    path = Path(folder, "credentials")
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _secrets(credentials: str) -> list[str]:
    """Passwords (or tokens instead of a user) in credential lines, as written and decoded."""
    found: list[str] = []
    for line in credentials.splitlines():
        user, _, password = urlsplit(line.strip()).netloc.rpartition("@")[0].partition(":")
        written = [password] if password else [user]
        found += [*written, *map(unquote, written)]
    return found
