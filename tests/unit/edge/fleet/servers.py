"""A real PostgreSQL and a real mosquitto as throw-away processes, which can be killed and revived."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from edge.fleet.settings import OfficeSettings
from tests.ports import HeldPort
from tests.unit.edge.mqtt.broker import MOSQUITTO

PATIENCE_S = 60.0


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest; Debian puts them beside the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


PROGRAMS = postgres_programs()
HAS_SERVERS = bool(PROGRAMS and MOSQUITTO)
WHY_NOT = "no PostgreSQL or mosquitto here: `apt-get install postgresql mosquitto`"


def as_postgres() -> list[str]:
    """Return what comes before a command: PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []


class Postgres:
    """Run PostgreSQL on a free port, with its data in a folder of its own; what is committed survives.

    Args:
        is_durable: sync each commit to the disk; without it a power cut would lose some, a kill does not.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        self._fsync = "on" if is_durable else "off"
        self.folder = Path(tempfile.mkdtemp(prefix="loomsight-pg-"))
        self._held = HeldPort()
        self.port = self._held.number
        self._process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", self.folder / "data", "-U", "loomsight", "-A", "trust", "-E", "UTF8",
                  "--no-sync", "--locale=C.UTF-8")  # fmt: skip

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://loomsight@127.0.0.1:{self.port}/{database}"

    def up(self) -> None:
        command = [*as_postgres(), PROGRAMS / "postgres", "-D", self.folder / "data", "-p", str(self.port),
                   "-k", self.folder, "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB",
                   "-c", "max_connections=30", "-c", f"fsync={self._fsync}"]  # fmt: skip
        log = self.folder / "server.log"
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            # It ends at once while a process from before a power cut still holds its shared memory.
            if self._process is None or self._process.poll() is not None:
                with log.open("ab") as said:
                    self._process = subprocess.Popen(command, stdout=said, stderr=said)
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise TimeoutError(f"PostgreSQL does not answer: {log.read_text()[-2000:]}")

    def down(self, how: int = signal.SIGQUIT) -> None:
        """End it: SIGKILL of all its processes is a power cut, SIGQUIT an immediate end."""
        process, self._process = self._process, None
        if process is None:
            return
        if how == signal.SIGKILL:
            process.send_signal(signal.SIGSTOP)  # no further child
            children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True)
            for pid in [process.pid, *map(int, children.stdout.split())]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            process.send_signal(how)
        process.wait(PATIENCE_S)

    def database(self, name: str, template: str = "template1") -> str:
        """Make a database, empty or like another one; returns its url."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url_of(name)

    def remove(self) -> None:
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: object) -> None:
        command = [*as_postgres(), PROGRAMS / program, *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)


class PlainBroker:
    """Run mosquitto without TLS and passwords on a free port."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self._held = HeldPort()
        self.port = self._held.number
        self._folder = folder
        user = "user root\n" if os.getuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"{user}listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            f"max_queued_messages 0\nset_tcp_nodelay true\n{settings}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def up(self) -> None:
        import socket

        command = [MOSQUITTO, "-c", self._folder / "mosquitto.conf"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def down(self, how: int = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(PATIENCE_S)


def office_settings(url: str, **changes: object) -> OfficeSettings:
    """Return settings for a database."""
    return OfficeSettings.model_validate({"database": {"url": url}, **changes})


TABLES = (
    "defects", "events", "gaps", "rolls", "verdicts", "last_verdicts", "refused",
    "daily_defects", "daily_gaps", "daily_events",
)  # fmt: skip


def empty_tables(connection: psycopg.Connection) -> None:
    """Remove all rows that messages made."""
    connection.execute(f"TRUNCATE {', '.join(TABLES)}, looms, installations")
