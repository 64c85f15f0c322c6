"""A PostgreSQL server for tests, from the binaries that Debian installs.

One server per test process, a schema per test. As root everything runs as `postgres`, because
PostgreSQL refuses to run as root.

`initdb` takes a second of processor time, so its data folder is made once and copied for each
server. The first one stays in `build`.
"""

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_HOME = Path("/usr/lib/postgresql")
_LIMIT_S = 60
_BUILD = Path(__file__).parents[2] / "build"
_numbers = count(1)


class NoPostgres(Exception):
    """PostgreSQL is not installed; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A server on its own Unix socket."""

    programs: Path
    folder: Path

    def start(self) -> None:
        """Start and wait until it answers."""
        options = (
            f"-c listen_addresses= -c unix_socket_directories={self.folder}"
            " -c fsync=off -c max_connections=200"
        )
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Stop at once, as a crash would."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def initialise(self) -> None:
        """Make the data folder: a copy of the first one."""
        made = (self.programs / "initdb").stat().st_mtime_ns
        # Its files belong to the user that the server runs as.
        first = _BUILD / f"postgres-{os.geteuid()}-{made}"
        _BUILD.mkdir(exist_ok=True)
        with _BUILD.joinpath("postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if first.exists():
                self._copy(first, self._data)
                return
            self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "--no-sync")
            whole = first.with_suffix(".new")
            shutil.rmtree(whole, ignore_errors=True)
            self._copy(self._data, whole)
            whole.rename(first)

    def _copy(self, source: Path | str, target: Path | str) -> None:
        # `shutil.copytree` needs four times as long.
        subprocess.run(["cp", "-Rp", source, target], timeout=_LIMIT_S, check=True)

    def run_sql(self, statement: str) -> str:
        """Run a statement as an operator would; what it printed."""
        host = str(self.folder)
        return self._run("psql", "-X", "-q", "-At", "-h", host, "-U", "postgres", "-c", statement)

    def new_schema(self, script: str = "") -> str:
        """The URL of a new schema: empty, or as a `schema_script` makes it."""
        name = f"test_{next(_numbers)}"
        if script:
            file = self.folder / "schema.sql"
            file.write_text(script.replace("the_schema", name))
            file.chmod(0o644)
            of = ("-h", str(self.folder), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-1")
            self._run("psql", "-X", "-q", *of, "-f", str(file))
        else:
            self.run_sql(f"CREATE SCHEMA {name}")
        return f"postgresql://postgres@/postgres?host={self.folder}&search_path={name}"

    def schema_script(self, url: str) -> str:
        """What makes the schema of a URL once more, with its rows, as `new_schema` takes it."""
        (name,) = re.findall(r"search_path=(\w+)", url)
        of = ("-h", str(self.folder), "-U", "postgres", "-d", "postgres")
        script = self._run("pg_dump", "--inserts", "--no-owner", "-n", name, *of)
        return re.sub(rf"\b{name}\b", "the_schema", script)

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(_numbers)}"
        self.run_sql(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def dump(self, url: str, *, into: str) -> None:
        """Copy a database into another one: `pg_dump` and `pg_restore`, as operators do."""
        file, host = str(self.folder / "copy"), str(self.folder)
        names = [re.sub(r".*@/(\w+).*", r"\1", one) for one in (url, into)]
        of = ("-h", host, "-U", "postgres", "-d")
        self._run("pg_dump", "--format=custom", "-f", file, *of, names[0])
        self._run("pg_restore", "--no-owner", "--exit-on-error", *of, names[1], file)

    @contextmanager
    def pooler(self) -> Iterator[str]:
        """pgbouncer in transaction mode before it; what to put in place of the folder in a URL."""
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise NoPostgres("pgbouncer is missing: install Debian's package `pgbouncer`")
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={self.folder} user=postgres\n"
            f"[pgbouncer]\nunix_socket_dir = {self.folder}\nlisten_addr =\nlisten_port = 6432\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n"
            f"logfile = {self.folder}/pgbouncer.log\npidfile = {self.folder}/pgbouncer.pid\n"
        )
        settings.chmod(0o644)
        self._run_program(program, "-d", str(settings))
        self._await_socket(self.folder / ".s.PGSQL.6432")
        try:
            yield f"{self.folder}&port=6432"
        finally:
            self._run_program("kill", (self.folder / "pgbouncer.pid").read_text().strip())

    def _await_socket(self, socket: Path) -> None:
        """A daemon returns before it listens, and says nothing when it does."""
        end = time.monotonic() + _LIMIT_S
        while not socket.exists():
            if time.monotonic() > end:
                raise RuntimeError(f"nothing listens on {socket}")
            time.sleep(0.02)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> str:
        return self._run_program(str(self.programs / program), *arguments)

    def _run_program(self, program: str, *arguments: str) -> str:
        command = [*_as_postgres(), program, *arguments]
        # A file and not a pipe: the server inherits it and would hold a pipe open for ever.
        with tempfile.TemporaryFile("w+") as output:
            status = subprocess.run(
                command, stdout=output, stderr=output, cwd="/", timeout=_LIMIT_S, check=False
            ).returncode
            output.seek(0)
            text = output.read()
        if status != 0:
            raise RuntimeError(f"{program} ended with {status}: {text}")
        return text


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; it and its folder are gone at the end. NoPostgres: nothing to run."""
    folder = Path(tempfile.mkdtemp(prefix="deploybot-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server = PostgresServer(programs=find_programs(), folder=folder)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def find_programs() -> Path:
    """The folder of the newest server's programs."""
    found = [path.parent for path in _HOME.glob("*/bin/initdb")]
    if not found or (os.geteuid() == 0 and not _has_user()):
        raise NoPostgres("PostgreSQL's server is missing: install Debian's package `postgresql`")
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))])


def _has_user() -> bool:
    return any(entry.pw_name == "postgres" for entry in pwd.getpwall())


def _as_postgres() -> Sequence[str]:
    return ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
