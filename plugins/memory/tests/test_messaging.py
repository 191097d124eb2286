"""The memory broker keeps the messaging contract."""

from __future__ import annotations

from host_plugin_memory import MemoryMessagingProvider
from wasmplex.testing import MessagingConformance


class TestMemory(MessagingConformance):
    provider = MemoryMessagingProvider()
