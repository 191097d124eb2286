"""The filesystem backend keeps the blob-store contract."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from host_plugin_filesystem import FilesystemProvider
from wasmplex.testing import BlobStoreConformance


class TestFilesystem(BlobStoreConformance):
    provider = FilesystemProvider()

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[Mapping[str, Any]]:
        # Thousands of objects are synced, which takes as long as the disk has other things to do.
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
            yield {"path": f"{folder}/blobs"}
