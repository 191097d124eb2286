"""Plays a case through `wasmplex run`: how another workload fares meanwhile, and what is left behind."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import guests
from serving import Running, running

from hostile.cases import Case

__all__ = ["Outcome", "furnished", "play"]

MIB = 2**20
TRIM_SECONDS = 15.0
"""How long resident memory may take to come back after all else."""
SETTLE_SECONDS = 120.0
"""How long it may take: changes of which guests were told and that failed are told again, some times."""
BLOCKS_OF_AN_INSTANCE = 2_000
"""What Python keeps for an instance that waits for the next call, those of its guest's code among them."""
OTHER_BLOCKS = 20_000
"""What Python has made meanwhile and keeps: names of metrics, imported modules, lists it uses again."""
OWN_THREADS = 1
"""Threads of the engine that begin when they are first needed, and stay."""
EVERY = 0.004
_CONNECTIONS = 64
"""What a backend may keep open."""


@dataclass(frozen=True)
class Outcome:
    """What one case did with some hostile instances.

    :ivar quiet: seconds that 99 in 100 answers of the other workload took before
    :ivar p99: the same while the hostile guests were at work
    :ivar worst: the longest that one took then
    :ivar refused: how many it was not given
    :ivar served: answers that the hostile guests gave
    :ivar before: resident bytes of the process before
    :ivar peak: the most that they were
    :ivar after: what they were some seconds after
    :ivar left: descriptors and threads that there are more of than before
    :ivar blocks: blocks of memory that Python uses and did not use before
    """

    case: Case
    instances: int
    quiet: float
    p99: float
    worst: float
    refused: int
    served: dict[int, int]
    before: int
    peak: int
    after: int
    left: int
    blocks: int

    @property
    def bearable(self) -> float:
        """What `p99` may be: 50 ms, or three times what it is without hostile guests."""
        return max(0.05, 3 * self.quiet)

    @property
    def allowed(self) -> int:
        """Resident bytes that there may be at most."""
        return self.before + self.instances * self.case.memory + 64 * MIB + self.backend

    @property
    def kept(self) -> int:
        """Resident bytes that there may be some seconds after, with few guests.

        With many, what is left of the objects that were made meanwhile lies so that the allocators cannot
        give pages back: `freed` says what matters.
        """
        return self.before + 64 * MIB + self.backend

    @property
    def freed(self) -> bool:
        """Whether what the guests had the host make is gone, but for the instances that wait for others."""
        return self.left <= 0 and self.blocks <= OTHER_BLOCKS + self.instances * BLOCKS_OF_AN_INSTANCE

    @property
    def backend(self) -> int:
        """Resident bytes that the backend may have: what was sent and not answered, a MiB a connection."""
        return _CONNECTIONS * MIB if self.case.backend.endswith("redis") else 0


def play(
    case: Case, instances: int, folder: Path, *, seconds: float = 3.0, quiet_seconds: float = 1.5
) -> Outcome:
    """Play a case.

    :param instances: how many hostile guests are at work at a time
    :param folder: an empty directory
    :param seconds: for how long
    :param quiet_seconds: for how long nobody is, before
    """
    with contextlib.ExitStack() as stack:
        config, silence = _config(case, instances, folder, stack)
        host = stack.enter_context(running(config))
        address = urlsplit(host.url)
        at = (address.hostname or "", address.port or 0)
        _request(at, "evil", "/")
        silence()
        quiet = stack.enter_context(_probing(at))
        time.sleep(quiet_seconds)
        quiet.stop()
        admin = _admin(host)
        before, first, used = _resident(host), _open(host), _blocks(admin)
        _forget_peak(host)
        probe = stack.enter_context(_probing(at))
        served = _attack(at, case, instances, seconds)
        probe.stop()
        peak = _peak(host)
        first += OWN_THREADS + (_CONNECTIONS if case.backend else 0)

        def outcome() -> Outcome:
            return Outcome(
                case, instances, quiet.quantile(0.99), probe.quantile(0.99), probe.quantile(1), probe.refused,
                served, before, peak, _resident(host), _open(host) - first, _blocks(admin) - used,
            )  # fmt: skip

        return _settled(outcome)


def _config(
    case: Case, instances: int, folder: Path, stack: contextlib.ExitStack
) -> tuple[Path, Callable[[], object]]:
    """Write a configuration; return it, and what makes its backend fall silent."""
    backend: list[str] = []
    silence: Callable[[], object] = int
    if case.backend == "memory":
        backend = ['backend = "memory"']
    elif case.backend:
        from wasmplex.testing.servers import RedisServer

        server = stack.enter_context(RedisServer())
        if case.backend == "silent redis":
            silence = server.pause
        backend = ['backend = "redis"', f'url = "{server.url}"', 'timeout = "60s"']
    entries = 20_000 if case.path.startswith(("/entries", "/listings")) else 1
    file = folder / "host.toml"
    file.write_text(
        "\n".join(
            [
                "[http]",
                'listen = "127.0.0.1:0"',
                "[admin]",
                'listen = "127.0.0.1:0"',
                "[workload.victim]",
                f'component = "{guests.path("hello")}"',
                'trigger.http = { path = "/", host = "victim" }',
                "[workload.evil]",
                f'component = "{_component(case.guest, folder)}"',
                f'limits = {{ timeout = "{case.timeout}s", {case.limits} }}',
                f"instances = {{ max = {instances}, queue = {instances}, reuse = {case.reuse} }}",
                *(_TOLD if case.backend else ['trigger.http = { path = "/", host = "evil" }']),
                *(line.replace("FOLDER", str(furnished(folder, entries))) for line in case.own),
                *(['[workload.evil.default."wasmcloud:keyvalue"]', *backend] if backend else []),
            ]
        )
    )
    return file, silence


_TOLD = f"""trigger.watch = {{ bucket = "kv", label = "watched", max_in_flight = 64 }}
[workload.evil.import.watched]
backend = "memory"
namespace = "told"
[workload.teller]
component = "{guests.path("kvhttp")}"
trigger.http = {{ path = "/", host = "evil" }}
[workload.teller.import.cache]
backend = "memory"
namespace = "told"
[workload.teller.import.store]
backend = "memory"
""".splitlines()


def furnished(folder: Path, entries: int) -> Path:
    """Return a directory with what cases read: a file of 64 MiB, and a directory of so many entries."""
    made = folder / "data"
    if not made.exists():
        (made / "many").mkdir(parents=True)
        for number in range(entries):
            (made / "many" / f"entry-{number}").touch()
        with (made / "big").open("wb") as file:
            file.truncate(64 * MIB)
    return made


def _component(name: str, folder: Path) -> Path:
    from hostile.components import TEXTS, assembled

    if name not in TEXTS:
        return guests.path(name)
    file = folder / f"{name}.wasm"
    file.write_bytes(assembled(name))
    return file


# ---------------------------------------------------------------- clients


def _request(at: tuple[str, int], host: str, path: str, timeout: float = 60.0) -> int:
    """Make a request on a connection of its own; return the status, 0 if there was no answer."""
    try:
        with socket.create_connection(at, timeout) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = connection.recv(4096)
            while connection.recv(65536):
                pass
        return int(head.split(b" ", 2)[1])
    except (OSError, IndexError, ValueError):
        return 0


def _attack(at: tuple[str, int], case: Case, instances: int, seconds: float) -> dict[int, int]:
    """Have so many hostile guests at work for so long; return how often they answered what."""
    until = time.perf_counter() + seconds
    served: dict[int, int] = {}
    counting, numbers = threading.Lock(), itertools.count()

    def attack() -> None:
        while time.perf_counter() < until:
            if case.backend:  # the answer says only that the guest has been told
                status = _request(at, "evil", f"{case.path}c={next(numbers)};?n=5")
                time.sleep(case.timeout + 0.05)
            else:
                status = _request(at, "evil", case.path)
            with counting:
                served[status] = served.get(status, 0) + 1

    threads = [threading.Thread(target=attack, daemon=True) for _ in range(instances)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return served


class _Probe(threading.Thread):
    """Asks the other workload for something small, again and again."""

    def __init__(self, at: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._at = at
        self._stopped = threading.Event()
        self.seconds: list[float] = []
        self.refused = 0

    def run(self) -> None:
        with socket.create_connection(self._at, 60) as connection:
            while not self._stopped.wait(EVERY):
                begun = time.perf_counter()
                connection.sendall(b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n")
                answer = b""
                while not answer.endswith(b"\r\n0\r\n\r\n") and not re.search(
                    rb"content-length: (\d+)\r\n.*\r\n\r\nhello", answer, re.DOTALL | re.IGNORECASE
                ):
                    if not (part := connection.recv(65536)):
                        raise AssertionError(f"the connection was closed after {answer!r}")
                    answer += part
                self.seconds.append(time.perf_counter() - begun)
                self.refused += not answer.startswith(b"HTTP/1.1 200")

    def stop(self) -> None:
        """Ask no more, and wait for the last answer."""
        self._stopped.set()
        self.join(60)

    def quantile(self, share: float) -> float:
        """Return how long so many of the answers took at most."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")


@contextlib.contextmanager
def _probing(at: tuple[str, int]) -> Iterator[_Probe]:
    probe = _Probe(at)
    probe.start()
    try:
        yield probe
    finally:
        probe.stop()


# ---------------------------------------------------------------- the process


def _status(host: Running, key: str) -> int:
    text = Path(f"/proc/{host.process.pid}/status").read_text()
    found = re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE)
    assert found, text
    return int(found[1])


def _resident(host: Running) -> int:
    return _status(host, "VmRSS") * 1024


def _peak(host: Running) -> int:
    return _status(host, "VmHWM") * 1024


def _forget_peak(host: Running) -> None:
    Path(f"/proc/{host.process.pid}/clear_refs").write_text("5")


def _open(host: Running) -> int:
    """Return how many descriptors and threads the process has."""
    return len(list(Path(f"/proc/{host.process.pid}/fd").iterdir())) + _status(host, "Threads")


def _admin(host: Running) -> str:
    """Return where its figures are."""
    found = re.search(r"metrics: (http://\S+)", host.log())
    assert found, host.log()
    return found[1]


def _blocks(admin: str) -> int:
    """Return how many blocks of memory Python uses in the process."""
    with urllib.request.urlopen(f"{admin}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found = re.search(r"^python_allocated_blocks (\S+)", text, re.MULTILINE)
    assert found, text
    return int(float(found[1]))


def _settled(outcome: Callable[[], Outcome]) -> Outcome:
    """Wait until what the guests had is gone; return how it is then."""
    begun = time.perf_counter()
    while True:
        found, waited = outcome(), time.perf_counter() - begun
        patience = TRIM_SECONDS if found.freed else SETTLE_SECONDS
        if (found.freed and found.after <= found.before + 16 * MIB) or waited > patience:
            return found
        time.sleep(0.2)
