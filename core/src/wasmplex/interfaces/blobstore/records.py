"""What is written the same way in both WIT packages, where WIT and Python differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from wasmplex.capabilities.blobstore import ObjectId
from wasmplex.interfaces.blobstore.policy import GuardedContainer

__all__ = ["container_info", "container_name", "object_info", "placed"]


async def container_name(container: GuardedContainer) -> str:
    """Return the name."""
    return container.name


async def container_info(container: GuardedContainer) -> dict[str, Any]:
    """Return a ``container-metadata``."""
    return {"name": container.name, "created-at": (await container.info()).created_at}


async def object_info(container: GuardedContainer, name: str) -> dict[str, Any]:
    """Return an ``object-metadata``."""
    size, created_at = await container.object_info(name)
    return {"name": name, "container": container.name, "created-at": created_at, "size": size}


def placed(
    operation: Callable[[ObjectId, ObjectId], Awaitable[None]],
) -> Callable[[dict[str, str], dict[str, str]], Awaitable[None]]:
    """Return an operation on two ``object-id``."""

    async def on_records(source: dict[str, str], target: dict[str, str]) -> None:
        await operation(
            ObjectId(source["container"], source["object"]), ObjectId(target["container"], target["object"])
        )

    return on_records
