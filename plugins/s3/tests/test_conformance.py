"""The S3 backend keeps the blob-store contract."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import pytest
from host_plugin_s3 import S3Provider
from wasmplex.testing import BlobStoreConformance
from wasmplex.testing.servers import S3Server


class TestS3(BlobStoreConformance):
    provider = S3Provider()

    @pytest.fixture
    def settings(self, server: S3Server) -> Mapping[str, Any]:
        return {
            "endpoint": server.url,
            "bucket": server.bucket,
            "prefix": secrets.token_hex(8),
            "access_key_id": server.access_key,
            "secret_access_key": server.secret_key,
        }
