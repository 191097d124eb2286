"""The memory backend keeps the blob-store contract."""

from __future__ import annotations

from host_plugin_memory import MemoryBlobProvider
from wasmplex.testing import BlobStoreConformance


class TestMemoryBlobs(BlobStoreConformance):
    provider = MemoryBlobProvider()
