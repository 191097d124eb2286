"""A state machine that does to a blob store whatever clients may do, and compares it with dicts."""

# Rules are named after what they do.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from wasmplex.capabilities.blobstore import PIECE, ObjectId
from wasmplex.testing.blobstore.driver import Bench, Store
from wasmplex.testing.kit import ClientMachine, Refused

__all__ = ["BlobStoreMachine"]

CLIENTS = ("first", "second", "third")
"""All of them share everything; each has a binding of its own."""
CONTAINERS = ("", "a/b")
NAMES = ("", "a/b", "..\0😀")
CONTENTS = (b"", b"x", b"\xff" * 300, b"p" * PIECE, b"q" * (PIECE + 5))

clients = st.sampled_from(CLIENTS)
containers = st.sampled_from(CONTAINERS)
names = st.sampled_from(NAMES)
contents = st.sampled_from(CONTENTS)
offsets = st.sampled_from([0, 1, 299, 300, PIECE - 1, PIECE, 2**64 - 1])
changes = st.sampled_from(["put", "abandon", "delete", "copy", "move", "clear", "remove"])

Attempt = Callable[[], Coroutine[Any, Any, Any]]


class BlobStoreMachine(ClientMachine):
    """The rules; every one compares with the model at once.

    :cvar stores: each client's binding
    :ivar known: the containers that exist, with their objects
    """

    bench: ClassVar[Bench]
    stores: ClassVar[dict[str, Store]]

    @classmethod
    async def prepare(cls) -> None:
        """Give each client a binding."""
        cls.stores = {client: await cls.bench.store(workload=client) for client in CLIENTS}

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.numbers)
        self.known: dict[str, dict[str, bytes]] = {}
        self.create(CLIENTS[0], CONTAINERS[0])
        self.put(CLIENTS[0], CONTAINERS[0], NAMES[0], CONTENTS[2])

    def at(self, container: str) -> str:
        """Return the name that a container has in this run."""
        return f"{self.number} {container}"

    def place(self, container: str, name: str) -> ObjectId:
        return ObjectId(self.at(container), name)

    def within(self, client: str, container: str, operation: str, *args: Any) -> Attempt:
        """Return an operation on a container, which is found first."""

        async def attempt() -> Any:
            found = await self.stores[client].container(self.at(container))
            return await getattr(found, operation)(*args)

        return attempt

    def expect(self, expected: str, operation: Attempt) -> bool:
        """Run an operation that has to end in that way; return whether it succeeds."""
        assert self.result(operation) == expected
        return expected == "ok"

    def found(self, container: str, name: str) -> str:
        """Return how an operation ends that needs an object."""
        if container not in self.known:
            return "no-such-container"
        return "ok" if name in self.known[container] else "no-such-object"

    @invariant()
    def everything_agrees(self) -> None:
        """Compare all objects: an operation that spoils another one is caught at once."""
        assert self.run(self._everything) == self.known

    async def _everything(self) -> dict[str, dict[str, bytes]]:
        store, result = self.stores["second"], dict[str, dict[str, bytes]]()
        for name in CONTAINERS:
            if await store.exists(self.at(name)):
                container = await store.container(self.at(name))
                listed = await container.names()
                assert len(listed) == len(set(listed)), "a name was listed twice"
                result[name] = {key: await container.get(key) for key in listed}
        return result

    # ------------------------------------------------------------ reading

    @rule(client=clients, container=containers, name=names, start=offsets, end=offsets)
    def look(self, client: str, container: str, name: str, start: int, end: int) -> None:
        if not self.expect(
            self.found(container, name), self.within(client, container, "get", name, start, end)
        ):
            return
        content = self.known[container][name]
        part = content[start : end + 1] if start <= end else b""
        assert self.run(self.within(client, container, "get", name, start, end)) == part
        assert self.run(self.within(client, container, "stat", name)).size == len(content)

    @rule(client=clients, container=containers, name=names)
    def ask(self, client: str, container: str, name: str) -> None:
        operation = self.within(client, container, "has", name)
        if container not in self.known:
            self.expect("no-such-container", operation)
        else:
            assert self.run(operation) is (name in self.known[container])

    # ------------------------------------------------------------ changing

    @rule(client=clients, container=containers)
    def create(self, client: str, container: str) -> None:
        expected = "container-already-exists" if container in self.known else "ok"
        if self.expect(expected, partial(self.stores[client].create, self.at(container))):
            self.known[container] = {}

    @rule(client=clients, container=containers)
    def remove(self, client: str, container: str) -> None:
        self.run(partial(self.stores[client].delete, self.at(container)))
        self.known.pop(container, None)

    @rule(client=clients, container=containers, name=names, content=contents)
    def put(self, client: str, container: str, name: str, content: bytes) -> None:
        expected = "ok" if container in self.known else "no-such-container"
        if self.expect(expected, self.within(client, container, "put", name, content)):
            self.known[container][name] = content

    @rule(client=clients, container=containers, name=names, content=contents)
    def abandon(self, client: str, container: str, name: str, content: bytes) -> None:
        expected = "ok" if container in self.known else "no-such-container"
        self.expect(expected, self.within(client, container, "abandon", name, content))

    @rule(client=clients, container=containers, gone=st.lists(names, max_size=4))
    def delete(self, client: str, container: str, gone: list[str]) -> None:
        args = ("delete", gone[0]) if len(gone) == 1 else ("delete_many", gone)
        expected = "ok" if container in self.known else "no-such-container"
        if self.expect(expected, self.within(client, container, *args)):
            for name in gone:
                self.known[container].pop(name, None)

    @rule(client=clients, container=containers)
    def clear(self, client: str, container: str) -> None:
        expected = "ok" if container in self.known else "no-such-container"
        if self.expect(expected, self.within(client, container, "clear")):
            self.known[container].clear()

    @rule(
        client=clients, source=containers, name=names, destination=containers, new=names, moves=st.booleans()
    )
    def carry(self, client: str, source: str, name: str, destination: str, new: str, moves: bool) -> None:
        """Copy or move an object, perhaps onto itself."""
        expected = self.found(source, name)
        if source in self.known and destination not in self.known:
            # Where the source is missing too, either may be said.
            expected = "no-such-container" if name in self.known[source] else ""
        store = self.stores[client]
        operation = partial(
            store.move if moves else store.copy, self.place(source, name), self.place(destination, new)
        )
        result = self.result(operation)
        assert result == expected or (not expected and result.startswith("no-such-"))
        if result == "ok":
            self.known[destination][new] = self.known[source][name]
            if moves and (source, name) != (destination, new):
                del self.known[source][name]

    # ------------------------------------------------------------ concurrency, cancellation

    @rule(container=containers, name=names, count=st.integers(2, 5))
    def put_together(self, container: str, name: str, count: int) -> None:
        """Write one object several times at once: one of them is there, whole."""
        if container not in self.known:
            return
        chosen = [bytes([number]) * (PIECE // 2 + number) for number in range(count)]
        self.together(
            self.within(CLIENTS[number % 3], container, "put", name, content)
            for number, content in enumerate(chosen)
        )
        after = self.run(self.within("first", container, "get", name))
        assert after in chosen, "parts of several objects"
        self.known[container][name] = after

    @rule(container=containers, count=st.integers(2, 4))
    def create_together(self, container: str, count: int) -> None:
        """Create one container several times at once: one of them does."""
        if container in self.known:
            return
        store = [self.stores[CLIENTS[number % 3]] for number in range(count)]
        results = self.together(partial(one.create, self.at(container)) for one in store)
        assert results.count("container-already-exists") == count - 1
        self.known[container] = {}

    @rule(
        client=clients, change=changes, container=containers, name=names, new=names, content=contents,
        turns=st.integers(0, 12),
    )  # fmt: skip
    def cancelled(
        self, client: str, change: str, container: str, name: str, new: str, content: bytes, turns: int
    ) -> None:
        """Cancel a change after some turns of the loop: it happened or not, and nothing else did."""
        store, known = self.stores[client], self.known.get(container)
        if known is None:
            return
        here, there = self.place(container, name), self.place(container, new)
        operations: dict[str, Attempt] = {
            "put": self.within(client, container, "put", name, content),
            "abandon": self.within(client, container, "abandon", name, content),
            "delete": self.within(client, container, "delete", name),
            "clear": self.within(client, container, "clear"),
            "copy": partial(store.copy, here, there),
            "move": partial(store.move, here, there),
            "remove": partial(store.delete, self.at(container)),
        }
        self.cancel(partial(_let, operations[change]), turns)
        after = self.run(self._everything)
        self.check(change, known, name, new, content, after.get(container))
        if container in after:
            self.known[container] = after[container]
        else:
            del self.known[container]

    def check(
        self,
        change: str,
        before: dict[str, bytes],
        name: str,
        new: str,
        content: bytes,
        after: dict[str, bytes] | None,
    ) -> None:
        """Compare what a cancelled change has left with what it may leave."""
        old = before.get(name)
        if after is None:
            assert change == "remove"
            return
        if change in ("clear", "remove"):
            assert before.items() >= after.items()
            return
        allowed = {name: {old}, new: {before.get(new)}}
        if change == "put":
            allowed[name].add(content)
        elif change == "delete":
            allowed[name].add(None)
        elif change in ("copy", "move") and old is not None and name != new:
            allowed[new].add(old)
            if change == "move" and after.get(new) == old:
                allowed[name].add(None)
        for key in before.keys() | after.keys():
            assert after.get(key) in allowed.get(key, {before.get(key)}), f"{change} has spoiled {key!r}"


async def _let(operation: Attempt) -> None:
    """Run an operation that may be refused."""
    try:
        await operation()
    except Refused:
        return
