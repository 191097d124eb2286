"""Two stores in an asynchronous world, with calls in flight side by side; `run` is told what to do."""

import asyncio

import wit_world
from componentize_py_types import Err
from wit_world.imports import atomics, batch, cas, fast, slow, types

COUNT = 50


class WitWorld(wit_world.WitWorld):
    async def run(self, what: str) -> str:
        one, two = await asyncio.gather(fast.open("b"), slow.open("b"))
        with one, two:
            return await getattr(self, what)(one, two)

    async def together(self, *buckets: types.Bucket) -> str:
        """Set and get many keys in both, all at once."""
        places = [(bucket, f"k{number}") for bucket in buckets for number in range(COUNT)]
        await asyncio.gather(*(bucket.set(key, key.encode(), None) for bucket, key in places))
        values = await asyncio.gather(*(bucket.get(key) for bucket, key in places))
        return str(sum(value == key.encode() for value, (_, key) in zip(values, places, strict=True)))

    async def everywhere(self, *buckets: types.Bucket) -> str:
        """Use what has no label with the buckets of both."""
        return " ".join([await self.use(bucket) for bucket in buckets])

    async def use(self, bucket: types.Bucket) -> str:
        await batch.set_many(bucket, [("k", b"1"), ("l", b"2")])
        total = await atomics.increment(bucket, "k", 41)
        entry = await cas.current(bucket, "k")
        options = cas.CasOptions(entry.version, b"42")
        swapped = await cas.swap(bucket, "k", b"new", options)
        stale = await cas.swap(bucket, "k", b"newer", options)
        return f"{total} {type(swapped).__name__} {type(stale).__name__} {stale.value.value}"

    async def refused(self, one: types.Bucket, two: types.Bucket) -> str:
        """Collect what goes wrong, one error each."""
        attempts = (
            one.get("k" * 2000),
            one.set("k", b"x" * 2000, None),
            two.set("k", b"", types.SetOptions(None, True)),
            two.set("k", b"", types.SetOptions(None, True)),
            atomics.increment(two, "k", 1),
            fast.open("not granted"),
        )
        return " ".join([await self.outcome(attempt) for attempt in attempts])

    async def outcome(self, attempt: object) -> str:
        try:
            await attempt
        except Err as error:
            return type(error.value).__name__
        return "fine"
