"""Opens the connection of a store, or says why that cannot be done."""

from __future__ import annotations

import asyncio

from wasmplex.capabilities.keyvalue import KeyValueError, Timeout

from host_plugin_nats.failures import ApiError, opening_failed
from host_plugin_nats.link import Link

__all__ = ["open_link"]


async def open_link(link: Link, seconds: float, address: str) -> None:
    """Open the connection of a store.

    :param seconds: what that may take
    :param address: of the server, for the error
    :raises wasmplex.errors.BackendError: if it cannot be opened
    """
    try:
        async with asyncio.timeout(seconds):
            await link.open()
    except TimeoutError as error:
        raise opening_failed(Timeout("no answer from the server"), address) from error
    except (KeyValueError, ApiError) as error:
        raise opening_failed(error, address) from error
