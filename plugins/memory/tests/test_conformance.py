"""The memory backend keeps the key-value contract."""

from __future__ import annotations

from host_plugin_memory import MemoryProvider
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.keyvalue import AsyncGuestDriver, LabelledAsyncGuestDriver


class AsyncGuestByStringsDriver(AsyncGuestDriver):
    transport = "strings"


class LabelledAsyncGuestInMemoryDriver(LabelledAsyncGuestDriver):
    transport = "memory"


class TestMemory(KeyValueConformance):
    provider = MemoryProvider()
    # The fastest backend is the one to have each guest in each transport.
    drivers = (*KeyValueConformance.drivers, AsyncGuestByStringsDriver, LabelledAsyncGuestInMemoryDriver)
