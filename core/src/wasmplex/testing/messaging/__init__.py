"""The conformance kit for message brokers.

.. code-block:: python

    from host_plugin_nats import NatsMessagingProvider
    from wasmplex.testing import MessagingConformance

    class TestNats(MessagingConformance):
        provider = NatsMessagingProvider()

        @pytest.fixture
        def settings(self, nats_url):
            return {"url": nats_url}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import pytest

from wasmplex.capabilities.messaging import FEATURES, Message, Unsupported
from wasmplex.testing.kit import Driver, LifecycleTests, Refused, long, needs, refused, run_machine
from wasmplex.testing.messaging.delivery_tests import DeliveryTests, DurableTests
from wasmplex.testing.messaging.driver import Bench, ContractDriver, Inbox, MessagingDriver, Sender
from wasmplex.testing.messaging.guests import GuestDriver, OldGuestDriver
from wasmplex.testing.messaging.machine import MessagingMachine
from wasmplex.testing.messaging.sending_tests import SendingTests

__all__ = [
    "EVERY_DRIVER", "Bench", "ContractDriver", "GuestDriver", "Inbox", "MessagingConformance",
    "MessagingDriver", "OldGuestDriver", "Sender",
]  # fmt: skip

EVERY_DRIVER: tuple[type[Driver[Any]], ...] = (ContractDriver, GuestDriver, OldGuestDriver)
"""All ways to reach a backend."""


class MessagingConformance(SendingTests, DeliveryTests, DurableTests, LifecycleTests, kit=True):
    """Tests that a provider keeps the messaging contract; subclass it once and set `provider`.

    One fixture may be defined: ``settings`` returns the binding's settings as they would stand in a
    configuration file (default: none).

    :cvar examples: how many runs of the state machine; each does up to 25 operations
    """

    pytestmark = pytest.mark.anyio

    capability = "messaging"
    known_features = FEATURES
    bench_type = Bench
    contract_driver = ContractDriver
    drivers: ClassVar[tuple[type[Driver[Any]], ...]] = EVERY_DRIVER

    examples: ClassVar[int] = 20

    @needs("durable", "queue-groups")
    @long
    async def test_the_broker_agrees_with_a_model(
        self, bench: Bench, driver_type: type[Driver[Any]], request: pytest.FixtureRequest
    ) -> None:
        """All of it, in any order, by several groups of several members."""
        examples = self.examples if driver_type is ContractDriver else max(self.examples // 10, 1)
        await run_machine(MessagingMachine, bench, self._features(request), examples)

    async def exercise(self, bench: Bench) -> None:
        """Send a message and receive it."""
        sender = await bench.sender()
        async with bench.subscribed("a") as inbox:
            await sender.publish(bench.subject("a"), b"1")
            await inbox.take()

    async def provoke(self, bench: Bench) -> Refused:
        """Send a body over the limit."""
        sender = await bench.sender(max_body=1)
        error = await refused("message-too-large", sender.publish(bench.subject("a"), b"22"))
        assert "publish" in error.text or not error.text  # an interface may have the case alone
        return error

    async def bind(self, bench: Bench) -> None:
        """Bind a sender."""
        await bench.sender()

    def undeclared(self, bench: Bench) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        """Return what only backends with a feature may do."""
        backend, place, subject = bench.backend, bench.namespace, bench.subject("a")
        return {
            "request": partial(_is_refused, lambda: backend.request(place, Message(subject, b""), 0.1)),
            "dead-letters": partial(_is_refused, lambda: backend.keep(place, Message(subject, b""))),
        }


async def _is_refused(operation: Callable[[], Awaitable[Any]], bench: Bench) -> None:
    with pytest.raises(Unsupported):
        await operation()
