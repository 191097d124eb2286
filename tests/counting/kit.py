"""The conformance kit of counters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from wasmplex.testing.kit import Bench, Driver, Guest, GuestDriver, LifecycleTests, Refused, refused

from counting import Counter, CounterError, Counting, Plugin, Tally


class CounterDriver(Driver[Counter]):
    features = Tally.features

    async def use(self, namespace: str) -> Any:
        return Counting(self.backend, namespace, lambda name, error: Refused(error.case, str(error)))


class CounterGuestDriver(GuestDriver[Counter]):
    """Through a guest that imports the counter under a label."""

    one: Guest

    component = Path(__file__).parents[1] / "guests" / "built" / "counting.wasm"
    package, labels, exports, plugins = "acme:counter", ("hits",), "acme:counter", (Plugin(),)

    async def use(self, namespace: str) -> Any:
        one = copy(self)
        one.one = await self.bound(namespace, "kit", {"namespace": namespace})
        return one

    def refusal(self, error: Any) -> Refused:
        return Refused(*error.split(": ", 1))

    async def add(self, name: str, by: int) -> Any:
        return await self.one.call("counter@0.1.0#add", name, by)

    async def total(self, name: str) -> Any:
        return await self.one.call("counter@0.1.0#total", name)

    def history(self, name: str) -> Any:
        return self.one.stream("counter@0.1.0#history", name)


class CounterBench(Bench[Any]):
    contract = Counter

    async def counter(self, place: str = "") -> Any:
        return await self.driver.use(self.namespace + place)


class CounterConformance(LifecycleTests, kit=True):
    pytestmark = pytest.mark.anyio
    capability, known_features, bench_type = "counter", Tally.features, CounterBench
    contract_driver, drivers = CounterDriver, (CounterDriver, CounterGuestDriver)

    async def exercise(self, bench: CounterBench) -> None:
        await (await bench.counter()).add("n", 1)

    async def provoke(self, bench: CounterBench) -> Refused:
        await bench.backend.add(bench.namespace, "n", 2**64 - 1)
        return await refused("full", (await bench.counter()).add("n", 1))

    def undeclared(self, bench: CounterBench) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        async def changes(bench: CounterBench) -> None:
            with pytest.raises(CounterError):
                bench.backend.changes("n")

        return {"changes": changes}

    async def test_counting(self, bench: CounterBench) -> None:
        """A total is the sum of what was added; names and namespaces are apart; the history has them all."""
        counter, other = await bench.counter(), await bench.counter("other")
        assert [await counter.add("a", 2), await counter.add("a", 3), await counter.add("b", 1)] == [2, 5, 1]
        assert [await counter.total("a"), await counter.total("c"), await other.total("a")] == [5, 0, 0]
        assert [total async for chunk in counter.history("a") for total in chunk] == [2, 5]
