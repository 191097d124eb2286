"""The cases: what a hostile guest does, with which limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["BY_NAME", "CASES", "Case"]

MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One way of taking more than one's share.

    :ivar name: short, for the table
    :ivar path: what the hostile guest is asked for
    :ivar guest: its component: a test guest, or a text of `hostile.components`
    :ivar limits: its ``limits``, as TOML, but for the timeout
    :ivar memory: bytes that one instance may take at most, as these limits say
    :ivar timeout: seconds that its calls may take
    :ivar backend: the key-value backend that it needs: none, one in memory, a Redis, or one that is silent
    :ivar reuse: calls that an instance serves; with more than one it keeps what it holds meanwhile
    :ivar own: more lines of its workload, as TOML; ``FOLDER`` is a directory that has the files
        `hostile.playing.furnished` makes
    :ivar quick: whether it belongs to the selection that tests play
    """

    name: str
    path: str
    guest: str = "hostile"
    limits: str = 'memory = "16MiB"'
    memory: int = 16 * MIB
    timeout: float = 2.0
    backend: Literal["", "memory", "redis", "silent redis"] = ""
    own: tuple[str, ...] = ()
    reuse: int = 1
    quick: bool = field(default=False, kw_only=True)


def _told(
    name: str,
    key: str,
    backend: Literal["memory", "redis", "silent redis"] = "silent redis",
    *,
    quick: bool = False,
) -> Case:
    """Return a case of a guest that is told what to do by a change of a bucket: its function may wait."""
    limits = 'memory = "64MiB", bytes_in_flight = "8MiB"'
    return Case(name, f"/{key};", "hostilekv", limits, (64 + 8) * MIB, backend=backend, quick=quick)


CASES: tuple[Case, ...] = (
    # the processor
    Case("spin", "/spin", quick=True),
    Case("brief", "/brief?n=2"),
    Case("sync host calls", "/calls", quick=True),
    Case("pollables asked", "/polls"),
    Case("pollables ready", "/readies"),
    Case("naps", "/naps"),
    Case("many pollables", "/choirs?n=1000"),
    Case("long lists", "/lists?n=60000&m=1000"),
    Case("recursion", "/recurse"),
    # handles
    Case("handles", "/handles?n=9000", quick=True),
    Case("handles, too many", "/handles?n=100000"),
    Case("fields", "/fields?n=9000"),
    Case("pollables", "/pollables?n=9000"),
    Case("clones", "/clones?n=9000"),
    Case("handles for ever", "/churn?n=9000"),
    # memory
    Case("memory", "/grow?stay=300", quick=True),
    Case("memory filled", "/fill?n=12&m=1000"),
    Case("many memories", "/", "memories", quick=True),
    Case("many tables", "/", "tables"),
    Case("garbage-collected heap", "/", "heap"),
    # async calls
    _told("calls left behind", "gets;n=1000000", quick=True),
    _told("large calls left behind", "sets;n=2000;m=1000000"),
    _told("resources left behind", "opens;n=100000"),
    _told("calls for ever", "floods"),
    _told("large answers", "answers;n=2000;m=1000000", "memory"),
    _told("calls for ever, answered", "floods", "memory"),
    _told("sets for ever", "floodsets", "memory"),
    _told("calls left behind, Redis", "gets;n=1000", "redis"),
    _told("calls for ever, Redis", "floods", "redis"),
    _told("sets for ever, Redis", "floodsets", "redis"),
    _told("large answers, Redis", "answers;n=2000;m=1000000", "redis"),
    _told("calls in turn for ever, Redis", "calls", "redis"),
    _told("calls in turn for ever", "calls", "memory"),
    _told("changes that tell of themselves", "echoes;n=2", "memory"),
)
_WASI = (
    # name, path, and what of its own: the rest is the same for all
    ("zeroes", "/zeroes", False),
    ("random bytes", "/randoms?n=1048576", False),
    ("random bytes, many", "/randoms?n=16777216", False),
    ("insecure random bytes", "/insecures?n=16777216", False),
    ("file read whole", "/reads", False),
    ("file streamed", "/streams", False),
    ("file skipped", "/skips", False),
    ("file spliced into the log", "/splices", False),
    ("file of any size", "/sizes", False),
    ("file synced", "/syncs", False),
    ("more than a stream takes", "/writes?n=16777216", False),
    ("file written at once", "/stores?n=16777216", False),
    ("long path", "/paths?n=33554432", True),
    ("winding path", "/winding?n=4096", False),
    ("environment", "/environment", False),
    ("log of lines", "/lines", False),
    ("log without lines", "/line", False),
    ("many entries", "/entries", False),
    ("directories left open", "/listings?n=100000&stay=300", False),
    ("files left open", "/files?n=100000&stay=300", True),
    ("sockets left open", "/sockets?n=100000&stay=300", False),
    ("names looked up", "/lookups", False),
    ("datagrams", "/datagrams", False),
)
_GRANTED = (
    'dirs = { "/data" = "FOLDER" }',
    'network = "allow"',
    f'env = {{ LONG = "{"x" * 10_000}" }}',
)
CASES += tuple(
    Case(name, path, "hostilewasi", 'memory = "48MiB"', 48 * MIB, own=_GRANTED, quick=quick)
    for name, path, quick in _WASI
)
BY_NAME = {case.name: case for case in CASES}
