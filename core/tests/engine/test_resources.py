"""Handles of the host's objects in every position of a type, and of the guest's own resources."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from wasmplex.engine import GuestResource, ValueMismatch
from wasmplex.errors import LimitReached, Trap
from wasmplex.values import Err

pytestmark = pytest.mark.anyio


class Thing:
    """A host object; counts how often it was dropped."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.drops = 0

    def drop(self) -> None:
        self.drops += 1


class Host:
    """Serves ``test:res/host``; remembers every thing it made."""

    def __init__(self, *, suspend: bool = False) -> None:
        self.made: list[Thing] = []
        self.given_back: list[Thing] = []
        self.suspend = suspend

    def new(self, number: int) -> Thing:
        self.made.append(Thing(number))
        return self.made[-1]

    def attempt(self, n: int) -> Thing:
        if n % 2:
            raise Err(self.new(n))
        return self.new(n)

    def take(self, thing: Thing) -> int:
        self.given_back.append(thing)
        return thing.number

    def swap(self, thing: Thing) -> tuple[Thing, int]:
        self.given_back.append(thing)
        return self.new(thing.number + 1), 100

    @property
    def imports(self) -> dict[str, Any]:
        functions = {
            "make": self.new,
            "maybe": lambda n: self.new(n) if n else None,
            "many": lambda n: [self.new(i) for i in range(n)],
            "try": self.attempt,
            "both": lambda a, b: a is self.made[-2] and b is self.made[-1],
            "consume": self.take,
            "swap": self.swap,
            "[method]thing.value": lambda thing: thing.number,
        }
        if self.suspend:
            functions = {name: _suspending(function) for name, function in functions.items()}
        return {"test:res/host": functions}


def _suspending(function: Any) -> Any:
    async def later(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return later


@pytest.fixture(params=[False, True], ids=["sync", "suspended"])
def host(request: Any) -> Host:
    return Host(suspend=request.param)


async def test_objects_cross_in_every_position(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    assert await guest.call("make", 7) == 7
    assert await guest.call("maybe", 0) == -1
    assert await guest.call("maybe", 5) == 5
    assert await guest.call("many", 5) == 10
    assert await guest.call("try", 4) == 4
    assert await guest.call("try", 5) == 1005
    assert await guest.call("both", 1)
    assert all(thing.drops == 1 for thing in host.made)
    assert not guest._store.objects.entries


async def test_object_given_back_is_not_dropped(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    assert await guest.call("consume", 3) == 3
    assert await guest.call("swap", 8) == 109
    assert [thing.drops for thing in host.given_back] == [0, 0]
    assert [thing.drops for thing in host.made] == [0, 0, 1]
    assert not guest._store.objects.entries


async def test_objects_as_arguments_and_results_of_exports(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    thing = Thing(9)
    assert await guest.call("spend", thing) == 9
    assert thing.drops == 1
    lent = Thing(4)
    assert await guest.call("look", lent) == 4
    assert lent.drops == 0
    assert await guest.call("echo", lent) is lent
    assert lent.drops == 0
    assert not guest._store.objects.entries


async def test_object_kept_by_the_guest_is_dropped_with_it(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    thing = Thing(1)
    await guest.call("hold", thing)
    await guest.call("keep", 2)
    assert len(guest._store.objects.entries) == 2
    guest.close()
    assert [thing.drops, host.made[0].drops] == [1, 1]


async def test_one_object_behind_two_handles_is_dropped_with_the_last(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    thing = Thing(1)
    await guest.call("hold", thing)
    assert await guest.call("spend", thing) == 1
    assert thing.drops == 0
    guest.close()
    assert thing.drops == 1


@pytest.mark.parametrize("wrong", [None, "gone"])
async def test_what_is_no_object_is_refused(new_instance: Any, host: Host, wrong: Any) -> None:
    guest = await new_instance("resources", host.imports)
    counter = await guest.call("[constructor]counter", 1)
    with pytest.raises(ValueMismatch, match=r"object for the resource|not an object of the host"):
        await guest.call("spend", None if wrong is None else counter)
    assert not guest.poisoned
    assert not guest._store.objects.entries


async def test_host_function_that_returns_none_for_an_object(new_instance: Any) -> None:
    host = Host()
    imports = {"test:res/host": {**host.imports["test:res/host"], "make": lambda n: None}}
    guest = await new_instance("resources", imports)
    with pytest.raises(Trap, match=r"make.*failed") as caught:
        await guest.call("make", 1)
    assert isinstance(caught.value.__cause__, ValueMismatch)


async def test_failing_drop_traps_with_its_cause(new_instance: Any) -> None:
    class Bad(Thing):
        def drop(self) -> None:
            raise OSError("disk")

    guest = await new_instance("resources", Host().imports)
    with pytest.raises(Trap, match=r"\[resource-drop\]thing") as caught:
        await guest.call("spend", Bad(1))
    assert isinstance(caught.value.__cause__, OSError)


async def test_resource_of_the_guest(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    counter = await guest.call("[constructor]counter", 5)
    assert isinstance(counter, GuestResource)
    assert counter.alive
    assert await guest.call("[method]counter.add", counter, 3) == 8
    assert await guest.call("[method]counter.add", counter, 4) == 9
    assert await guest.call("finish", counter) == 5
    assert await guest.call("dropped") == 1
    assert not counter.alive
    with pytest.raises(ValueMismatch, match="dropped or given away"):
        await guest.call("finish", counter)
    with pytest.raises(ValueMismatch, match="handle of the guest's resource 'counter'"):
        await guest.call("finish", 5)
    assert not guest.poisoned


async def test_resource_of_the_guest_given_up(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    counter = await guest.call("[constructor]counter", 5)
    await counter.drop()
    await counter.drop()
    assert not counter.alive
    assert "gone" in repr(counter)


async def test_resource_of_another_instance_is_refused(new_instance: Any, host: Host) -> None:
    guest = await new_instance("resources", host.imports)
    other = await new_instance("resources", host.imports)
    counter = await other.call("[constructor]counter", 5)
    with pytest.raises(ValueMismatch):
        await guest.call("finish", counter)
    other.close()
    assert not counter.alive
    assert await guest.call("dropped") == 0


async def test_a_guest_that_takes_too_many_handles_is_told_which_limit_it_was(
    new_instance: Any, host: Host
) -> None:
    guest = await new_instance("resources", host.imports, handles=4)
    assert await guest.call("many", 3) == 3
    with pytest.raises(LimitReached, match=r"limits\.handles of \[workload\.shop\]"):
        await guest.call("many", 5)
    guest.close()
    assert all(thing.drops == 1 for thing in host.made[:7])
