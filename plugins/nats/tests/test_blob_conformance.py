"""The NATS backend keeps the blob-store contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from host_plugin_nats import NatsBlobProvider
from wasmplex.testing import BlobStoreConformance
from wasmplex.testing.servers import NatsServer


class TestNatsBlobs(BlobStoreConformance):
    provider = NatsBlobProvider()

    @pytest.fixture
    def settings(self, nats_server: NatsServer) -> Mapping[str, Any]:
        return {"url": nats_server.url}
