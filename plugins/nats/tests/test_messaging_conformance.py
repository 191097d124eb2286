"""NATS keeps the messaging contract."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
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


if "WASMPLEX_OLD_NATS" in os.environ:  # the path of an older server: 2.10, say

    @pytest.fixture(scope="module")
    def older_server() -> Iterator[NatsServer]:
        server = NatsServer("s3cr3t", sync=None)
        server._program = Path(os.environ["WASMPLEX_OLD_NATS"])
        with server:
            yield server

    class TestOlderNats(TestNats):
        @pytest.fixture
        def settings(self, older_server: NatsServer) -> Mapping[str, Any]:
            return {"url": older_server.url}
