"""Calls in flight side by side, in an asynchronous world."""

import asyncio

import wit_world
from wit_world.imports import cas, store


class WitWorld(wit_world.WitWorld):
    async def run(self, key: str) -> str:
        one, two = await asyncio.gather(store.open("one"), store.open("two"))
        with one, two:
            values = await asyncio.gather(one.get(key), two.get(key))
            entry = await cas.current(one, key)
            return f"{values[0]!r} {values[1]!r} {entry.version if entry else None}"
