"""The skeleton of a state machine that does to a backend whatever clients may do, and compares with a model.

A kit derives from `ClientMachine` a machine with rules, and runs it by `run_machine`: in a worker thread, for
Hypothesis is synchronous, with its operations on the event loop of the test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any, ClassVar, TypeAlias

import anyio
import anyio.from_thread
import anyio.lowlevel
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from wasmplex.testing.kit.bench import Bench
from wasmplex.testing.kit.drivers import Refused, outcome

__all__ = ["ClientMachine", "Operation", "cancelled", "run_machine", "together"]

Operation: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


class ClientMachine(RuleBasedStateMachine):
    """Several clients, time that passes, operations at once, operations that are cancelled.

    :cvar bench: the backend
    :cvar abilities: the features and words that may be used
    :cvar numbers: gives every run things of its own, so that runs do not see each other's
    :ivar now: milliseconds that have passed
    """

    bench: ClassVar[Bench[Any]]
    abilities: ClassVar[frozenset[str]]
    numbers: ClassVar[Iterator[int]]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0

    @classmethod
    async def prepare(cls) -> None:
        """Make what all runs share, on the event loop; a kit's machine may extend it."""

    def has(self, *abilities: str) -> bool:
        """Return whether all of these may be used."""
        return self.abilities.issuperset(abilities)

    def run(self, operation: Operation) -> Any:
        """Run one operation on the event loop."""
        return anyio.from_thread.run(operation)

    def result(self, operation: Operation) -> str:
        """Run one operation and return its `outcome`."""
        return str(self.run(lambda: outcome(operation())))

    def together(self, operations: Iterable[Operation]) -> list[Any]:
        """Run operations at once; return the results, or the cases of refusals."""
        found: list[Any] = self.run(partial(together, list(operations)))
        return found

    def cancel(self, operation: Operation, turns: int) -> None:
        """Begin an operation and cancel it after some turns of the event loop."""
        self.run(partial(cancelled, operation, turns))

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.run(partial(self.bench.passes, milliseconds))
        self.now += milliseconds


async def together(operations: Iterable[Operation]) -> list[Any]:
    """Run operations at once; return the results, or the cases of refusals, as they came."""
    results: list[Any] = []

    async def run(operation: Operation) -> None:
        try:
            results.append(await operation())
        except Refused as error:
            results.append(error.case)

    async with anyio.create_task_group() as group:
        for operation in operations:
            group.start_soon(run, operation)
    return results


async def cancelled(operation: Operation, turns: int) -> None:
    """Cancel an operation after some turns of the event loop, and give what was under way time to arrive."""

    async def run() -> None:
        await operation()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    await anyio.sleep(0.02)  # what was under way in a thread or on a wire has arrived, also on a busy machine


async def run_machine(
    machine: type[ClientMachine], bench: Bench[Any], abilities: frozenset[str], examples: int, steps: int = 25
) -> None:
    """Run a machine on a backend.

    :param examples: how many runs
    :param steps: how many operations each run does at most
    """
    own = type(machine.__name__, (machine,), {"bench": bench, "abilities": abilities, "numbers": count(1)})
    prepare: Callable[[], Awaitable[None]] = own.prepare  # type: ignore[attr-defined]
    await prepare()
    profile = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    await anyio.to_thread.run_sync(partial(run_state_machine_as_test, own, settings=profile))
