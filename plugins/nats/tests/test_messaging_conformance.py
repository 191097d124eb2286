"""NATS keeps the messaging contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from host_plugin_nats import NatsMessagingProvider
from wasmplex.testing import MessagingConformance
from wasmplex.testing.servers import NatsServer


class TestNats(MessagingConformance):
    provider = NatsMessagingProvider()

    @pytest.fixture
    def settings(self, nats_server: NatsServer) -> Mapping[str, Any]:
        return {"url": nats_server.url}
