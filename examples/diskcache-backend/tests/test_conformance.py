"""The backend keeps the key-value contract."""

import pytest
from host_plugin_diskcache import DiskCacheProvider
from wasmplex.testing import KeyValueConformance


class TestDiskCache(KeyValueConformance):
    provider = DiskCacheProvider()

    @pytest.fixture
    def settings(self) -> dict[str, str]:
        return {"path": "cache"}
