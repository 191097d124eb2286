"""NATS keeps the messaging contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from host_plugin_nats import NatsMessagingProvider
from wasmplex.testing import MessagingConformance
from wasmplex.testing.loops import everything
from wasmplex.testing.messaging import EVERY_DRIVER, ContractDriver
from wasmplex.testing.servers import NatsServer


class TestNats(MessagingConformance):
    provider = NatsMessagingProvider()
    drivers = (
        EVERY_DRIVER if everything() else (ContractDriver,)
    )  # guests meet it in tests/test_messaging_run.py

    @pytest.fixture
    def settings(self, nats_server: NatsServer) -> Mapping[str, Any]:
        return {"url": nats_server.url}
