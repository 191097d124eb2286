"""The fixture can send what a handler is called with, and see what it sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_plugin_memory import MemoryMessagingProvider
from wasmplex.capabilities.messaging import NoResponders
from wasmplex.errors import UsageError
from wasmplex.testing import HostFactory, Recording

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
KV = {"wasmcloud:keyvalue": "memory"}
TRIGGER = {"messaging": {"backend": "memory", "subjects": ["orders.*"]}}


def test_a_handler_is_called_with_what_a_test_sends(wasm_host: HostFactory) -> None:
    sent = Recording(MemoryMessagingProvider())
    shop = wasm_host(GUESTS / "handler.wasm", audit=sent, default=KV, workload={"trigger": TRIGGER})
    assert shop.request("orders.new", b"two books") == b"two books"
    shop.publish("orders.new", b"one more")
    with pytest.raises(NoResponders):
        shop.request("nobody", b"")


def test_a_host_without_the_trigger(wasm_host: HostFactory) -> None:
    shop = wasm_host(GUESTS / "handler.wasm", audit="memory", default=KV)
    with pytest.raises(UsageError, match="no workload has"):
        shop.publish("a", b"")
    with pytest.raises(UsageError, match=r"no workload has a trigger\.http"):
        _ = shop.url
