"""Clients that write and remember what was acknowledged."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import anyio
from wasmplex.interfaces.keyvalue.policy import GuardedBucket

PAUSE = 0.005


class Refused(Exception):
    """An operation returned an error.

    :ivar case: the case of the guest's ``error``
    """

    def __init__(self, case: str, text: str) -> None:
        super().__init__(f"{case}: {text}")
        self.case = case


@dataclass
class Client:
    """One client: it writes growing numbers under a key of its own, and counts in one that all share."""

    number: int
    tried: int = 0
    acknowledged: int = 0
    last_success: float = 0.0

    @property
    def key(self) -> str:
        return f"client {self.number}"


@dataclass
class Traffic:
    """Clients of one bucket, and what became of their calls."""

    bucket: GuardedBucket
    clients: list[Client]
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    counted: int = 0
    count_tries: int = 0
    running: bool = True

    @classmethod
    def of(cls, bucket: GuardedBucket, clients: int) -> "Traffic":
        return cls(bucket, [Client(number) for number in range(clients)])

    async def run(self) -> None:
        """Let all clients write until `running` is false; returns when every call was answered."""
        async with anyio.create_task_group() as tasks:
            for client in self.clients:
                tasks.start_soon(self._write, client)

    async def _write(self, client: Client) -> None:
        while self.running:
            client.tried += 1
            if await self._call(self.bucket.set(client.key, b"%d" % client.tried)):
                client.acknowledged = client.tried
                client.last_success = time.monotonic()
            if client.number % 10 == 0:
                self.count_tries += 1
                self.counted += await self._call(self.bucket.increment("shared", 1))
            await anyio.sleep(PAUSE)

    async def _call(self, operation: Any) -> bool:
        start = time.monotonic()
        try:
            await operation
            outcome = "ok"
        except Refused as error:
            outcome = error.case
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.outcomes[outcome] += 1
        return outcome == "ok"

    async def all_succeed_after(self, moment: float) -> float:
        """Wait until every client had a success after `moment`; return how long after it that was."""
        while not all(client.last_success > moment for client in self.clients):  # noqa: ASYNC110
            await anyio.sleep(0.01)
        return time.monotonic() - moment

    async def lost(self) -> list[str]:
        """Return what the store has forgotten or made up."""
        found = []
        for client in self.clients:
            value = await self.bucket.get(client.key)
            number = int(value or 0)
            if not client.acknowledged <= number <= client.tried:
                found.append(f"{client.key}: {number} is not in {client.acknowledged}..{client.tried}")
        total = int(await self.bucket.get("shared") or 0)
        if not self.counted <= total <= self.count_tries:
            found.append(f"shared: {total} is not in {self.counted}..{self.count_tries}")
        return found
