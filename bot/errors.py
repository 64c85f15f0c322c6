"""Every error of the project, as one tree. Adapters translate library errors into these."""


class BotError(Exception):
    """The root. `str(error)` can be shown to people as it is."""


class Declined(BotError):
    """A request that cannot be carried out now.

    The sentence says what prevents it and what to do next; only the requester sees it.
    """


class NoSuchRef(Declined):
    """The app's repository has no such branch, tag or commit, or several."""


class NotKnown(Declined):
    """Slack does not say now whether a person may do it: refused, but it may be allowed later."""


class ConfigError(BotError):
    """A setting is missing or wrong; the bot cannot start.

    `setting` is the variable or dotted path, `source` where it was read (environment,
    `.env`, the file's path), `problem` what is wrong and `fix` what to do about it.
    """

    def __init__(self, setting: str, source: str, problem: str, fix: str) -> None:
        self.setting = setting
        self.source = source
        self.problem = problem
        self.fix = fix
        full_stop = "" if problem.endswith("?") else "."
        super().__init__(f"{source}: {setting}: {problem}{full_stop} {fix}".rstrip())


class DokkuError(BotError):
    """A command to a Dokku server failed, or its answer is unknown or unreadable."""


class Unreachable(DokkuError):
    """No command was sent: the server did not answer, or refused the login. Retrying is harmless.

    The sentence is `problem` and `fix`, what to do about it. `final`: retrying cannot help (host
    key changed, key refused).
    """

    def __init__(self, problem: str, fix: str = "", *, final: bool = False) -> None:
        self.problem = problem
        self.fix = fix
        self.final = final
        super().__init__(f"{problem} {fix}" if fix else problem)


class Refused(Unreachable):
    """The server answered, but a setting keeps the bot out; nothing was sent.

    `setting` is its name in the server's table.
    """

    def __init__(self, setting: str, problem: str, fix: str) -> None:
        self.setting = setting
        super().__init__(problem, fix, final=True)


class CommandFailed(DokkuError):
    """A question was answered with a non-zero exit status. The texts are redacted and cut."""

    def __init__(self, command: str, exit_status: int, stdout: str, stderr: str) -> None:
        self.command = command
        self.exit_status = exit_status
        self.stdout = stdout
        self.stderr = stderr
        first = next((line.strip() for line in (stderr + "\n" + stdout).splitlines() if line), "")
        super().__init__(f"{command} ended with {exit_status}: {first[:200]}")


class OddReport(DokkuError):
    """Dokku's answer could not be read; the sentence quotes at most its redacted beginning."""


class NotShown(DokkuError):
    """The server answers, but Docker on it does not show an app's containers: nothing was sent."""

    def __init__(self, app: str, server: str) -> None:
        self.app = app
        self.server = server
        super().__init__(
            f"Docker on the server does not show the containers of {app}, so no result could be "
            "proven: nothing was started. Check that Docker runs on the server, then retry."
        )


class OtherScheduler(DokkuError):
    """The app runs on another scheduler than docker-local, of which Dokku shows no containers."""

    def __init__(self, app: str, scheduler: str) -> None:
        super().__init__(
            f"{app} runs on {scheduler}, where Dokku does not show containers: its own result "
            "could be read, but not what serves. The bot can prove that only on docker-local."
        )


class Withheld(DokkuError):
    """Nothing was sent: the lease could not be renewed in time, so another replica may own it."""


class OutcomeUnknown(DokkuError):
    """A command was sent and no exit status came back: read the server's state before retrying."""


class Slow(OutcomeUnknown):
    """The server took a question and did not answer it in time: it is busy, not gone."""


class SlackError(BotError):
    """Slack refused a call. `code` is Slack's error code."""

    def __init__(self, sentence: str, *, code: str = "") -> None:
        self.code = code
        super().__init__(sentence)


class MessageGone(SlackError):
    """The message to edit no longer exists or may not be edited: post one new message, or stop."""


class StoreError(BotError):
    """The database refused a write because its guard did not hold."""


class DatabaseDown(StoreError):
    """The database does not answer, or cannot write: whether a write was made is unknown."""

    nothing_written = False
    """It is known: the database went away before it was asked to commit."""


class LeaseLost(StoreError):
    """Another replica owns the deployment now: stop, write nothing."""


class StaleState(StoreError):
    """The deployment is no longer in the phase that the caller expected: read it again."""


class ServerFull(StaleState):
    """The server runs as many deployments as the settings allow; this one stays in the queue."""

    def __init__(self, server: str, running: int, most: int) -> None:
        self.server = server
        self.running = running
        self.most = most
        super().__init__(f"{running} of {most} deployments run on {server}")


class Twin(StoreError):
    """Another deployment of the app, `deployment_id`, waits for the same commit and came first."""

    def __init__(self, deployment_id: str) -> None:
        self.deployment_id = deployment_id
        super().__init__(f"deployment {deployment_id} waits for the same commit")


class Duplicate(StoreError):
    """The same request was delivered before; it started the deployment `deployment_id`."""

    def __init__(self, deployment_id: str) -> None:
        self.deployment_id = deployment_id
        super().__init__(f"this request already started deployment {deployment_id}")
