"""Two labels of one interface: read through the cache, fill it from the store."""

import wit_world
from wit_world.imports import cache, store


class WitWorld(wit_world.WitWorld):
    def run(self, key: str) -> str:
        with cache.open("session-data") as cached, store.open("orders") as stored:
            value = cached.get(key)
            if value is not None:
                return "hit:" + value.decode()
            value = stored.get(key)
            if value is None:
                return "none"
            cached.set(key, value)
            return "miss:" + value.decode()
