"""The fixture can send what a handler is called with, and see what it sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_plugin_memory import MemoryMessagingProvider, MemoryProvider
from wasmplex.capabilities.messaging import NoResponders
from wasmplex.errors import UsageError
from wasmplex.testing import HostFactory, Recording

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
KV = {"wasmcloud:keyvalue": "memory"}
TRIGGER: dict[str, dict[str, object]] = {"messaging": {"backend": "memory", "subjects": ["orders.*"]}}


def test_a_handler_is_called_with_what_a_test_sends(wasm_host: HostFactory) -> None:
    sent = Recording(MemoryMessagingProvider())
    shop = wasm_host(GUESTS / "handler.wasm", audit=sent, default=KV, workload={"trigger": TRIGGER})
    assert shop.request("orders.new", b"two books") == b"two books"
    assert shop.publish("orders.new", b"one more") == ["done"]
    with pytest.raises(NoResponders):
        shop.request("nobody", b"")


def test_publishing_waits_for_the_handler_and_tells_what_became_of_the_message(
    wasm_host: HostFactory,
) -> None:
    stored = Recording(MemoryProvider())
    table = {**TRIGGER["messaging"], "backoff": "1ms", "max_deliver": 2}
    again = {**table, "subjects": ["orders.>"], "broadcast": True, "dead_letter": "dead"}
    shop = wasm_host(
        GUESTS / "handler.wasm",
        audit="memory",
        default={"wasmcloud:keyvalue": stored},
        workload={"trigger": {"messaging": [table, {**again, "namespace": "under-test/messaging"}]}},
    )
    for number in range(20):
        before = len(stored.names())
        assert shop.publish("orders.new", b"%d" % number) == ["done", "done"]
        assert len(stored.names()) > before
    assert shop.publish("orders.new", b"reject") == ["given up", "dead letter"]
    assert shop.publish("orders.new", b"retry") == ["retry", "retry"]
    assert shop.publish("orders.of.old", b"reject") == ["dead letter"]
    with pytest.raises(UsageError, match=r"no handler of the host takes messages to store.new"):
        shop.publish("store.new", b"")
    with pytest.raises(TimeoutError, match="not done after 0 s"):
        shop.publish("orders.new", b"late", seconds=0)


def test_a_host_without_the_trigger(wasm_host: HostFactory) -> None:
    shop = wasm_host(GUESTS / "handler.wasm", audit="memory", default=KV)
    with pytest.raises(UsageError, match="no workload has"):
        shop.publish("a", b"")
    with pytest.raises(UsageError, match=r"no workload has a trigger\.http"):
        _ = shop.url
