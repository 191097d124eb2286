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
    :ivar backend: the key-value backend that it needs: none, one in memory, or a Redis that does not answer
    :ivar reuse: calls that an instance serves; with more than one it keeps what it holds meanwhile
    :ivar own: more lines of its workload, as TOML
    :ivar quick: whether it belongs to the selection that tests play
    """

    name: str
    path: str
    guest: str = "hostile"
    limits: str = 'memory = "16MiB"'
    memory: int = 16 * MIB
    timeout: float = 2.0
    backend: Literal["", "memory", "silent redis"] = ""
    own: tuple[str, ...] = ()
    reuse: int = 1
    quick: bool = field(default=False, kw_only=True)


CASES = (
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
)
BY_NAME = {case.name: case for case in CASES}
