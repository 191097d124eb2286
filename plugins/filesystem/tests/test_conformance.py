"""The filesystem backend keeps the blob-store contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from host_plugin_filesystem import FilesystemProvider
from wasmplex.testing import BlobStoreConformance


class TestFilesystem(BlobStoreConformance):
    provider = FilesystemProvider()

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"path": "blobs"}
