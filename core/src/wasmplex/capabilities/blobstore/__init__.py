"""Blob store: what a backend implements, and what guests get through every WIT interface."""

from __future__ import annotations

from wasmplex.capabilities.blobstore.contract import (
    FEATURES,
    MAX_PAGE,
    PIECE,
    BlobStoreBackend,
    Container,
    ContainerInfo,
    ObjectId,
    ObjectInfo,
    Page,
    Reader,
    Steps,
    Writer,
    copied,
    existing,
)
from wasmplex.capabilities.blobstore.errors import (
    CASES,
    AccessDenied,
    BlobStoreError,
    ContainerAlreadyExists,
    InvalidArgument,
    NoSuchContainer,
    NoSuchObject,
    Other,
    QuotaExceeded,
    StoreUnavailable,
    Timeout,
)

__all__ = [
    "CASES", "FEATURES", "MAX_PAGE", "PIECE", "AccessDenied", "BlobStoreBackend", "BlobStoreError",
    "Container", "ContainerAlreadyExists", "ContainerInfo", "InvalidArgument", "NoSuchContainer",
    "NoSuchObject", "ObjectId", "ObjectInfo", "Other", "Page", "QuotaExceeded", "Reader", "Steps",
    "StoreUnavailable", "Timeout", "Writer", "copied", "existing",
]  # fmt: skip
