"""The memory backend keeps the key-value contract."""

from __future__ import annotations

from host_plugin_memory import MemoryProvider
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.keyvalue import EVERY_DRIVER


class TestMemory(KeyValueConformance):
    provider = MemoryProvider()
    drivers = EVERY_DRIVER
