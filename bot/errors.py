"""Every error of the project, as one tree. Adapters translate library errors into these."""


class BotError(Exception):
    """The root: whoever catches it can show `str(error)` to a person as it is."""


class Declined(BotError):
    """Somebody asked for something that cannot be done now.

    The sentence says what holds it and what to do next; it is shown to the asker alone.
    """


class ConfigError(BotError):
    """A setting is missing or wrong; the bot cannot start.

    `setting` is the variable or dotted path, `source` where it was read (environment,
    `.env`, the file's path), `problem` what is wrong and `mend` what to do about it.
    """

    def __init__(self, setting: str, source: str, problem: str, mend: str) -> None:
        self.setting = setting
        self.source = source
        self.problem = problem
        self.mend = mend
        full_stop = "" if problem.endswith("?") else "."
        super().__init__(f"{source}: {setting}: {problem}{full_stop} {mend}".rstrip())


class DokkuError(BotError):
    """Something between the bot and a Dokku server went wrong."""


class Unreachable(DokkuError):
    """No command was sent: the server did not answer, or refused the key or host key.

    Trying again is harmless. `final` is True when trying again cannot help by itself
    (host key changed, key refused).
    """

    def __init__(self, sentence: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(sentence)


class Refused(Unreachable):
    """The server answered, and a setting keeps the bot out; nothing was sent.

    `setting` is its name in the server's table; the sentence is `problem` and `mend`.
    """

    def __init__(self, setting: str, problem: str, mend: str) -> None:
        self.setting = setting
        self.problem = problem
        self.mend = mend
        super().__init__(f"{problem} {mend}", final=True)


class CommandFailed(DokkuError):
    """A question was answered with a non-zero exit status. Texts are redacted heads."""

    def __init__(self, command: str, exit_status: int, stdout: str, stderr: str) -> None:
        self.command = command
        self.exit_status = exit_status
        self.stdout = stdout
        self.stderr = stderr
        first = next((line.strip() for line in (stderr + "\n" + stdout).splitlines() if line), "")
        super().__init__(f"{command} ended with {exit_status}: {first[:200]}")


class OddReport(DokkuError):
    """Dokku answered something that could not be read; the sentence holds a redacted head."""


class NotShown(DokkuError):
    """The server answers, but Docker on it does not show an app's containers: nothing was sent."""

    def __init__(self, app: str, server: str) -> None:
        self.app = app
        self.server = server
        super().__init__(
            f"Docker on {server} does not show the containers of {app}, so no end of a deployment "
            "could be proven: nothing was started. See whether Docker runs on the server, "
            "then retry."
        )


class OutcomeUnknown(DokkuError):
    """A command was sent and no exit status came back: look, never repeat blindly."""


class SlackError(BotError):
    """Slack refused a call. `code` is Slack's own error word."""

    def __init__(self, sentence: str, *, code: str = "") -> None:
        self.code = code
        super().__init__(sentence)


class MessageGone(SlackError):
    """The message to edit no longer exists or may not be edited: post once anew, or stop."""


class StoreError(BotError):
    """The database refused a write because its guard did not hold."""


class DatabaseDown(StoreError):
    """The database does not answer, or cannot write: whether a write was made is not known."""


class LeaseLost(StoreError):
    """Another replica owns the deployment now: stop, write nothing."""


class StaleState(StoreError):
    """The deployment is no longer in the phase that the caller believed: read again."""


class ServerFull(StaleState):
    """As many deployments run on the server as the settings allow: it keeps its place in line."""

    def __init__(self, server: str, running: int, most: int) -> None:
        self.server = server
        self.running = running
        self.most = most
        super().__init__(f"{running} of {most} deployments run on {server}")


class Duplicate(StoreError):
    """The same request was delivered before; `deployment_id` is what it started."""

    def __init__(self, deployment_id: str) -> None:
        self.deployment_id = deployment_id
        super().__init__(f"this request already started deployment {deployment_id}")
