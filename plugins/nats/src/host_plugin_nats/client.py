"""What the client library keeps to itself and we cannot do without. The only module that looks inside."""

# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client

__all__ = ["bury", "on_end", "server_version"]


def server_version(client: Client) -> str:
    """Return the version that the server told, ``2.11.4``."""
    return str(client._server_info.get("version", ""))


def on_end(client: Client, ended: Callable[[], None]) -> None:
    """Call `ended` when a connection has ended, for whatever reason.

    The library's own callback is not called if closing the connection fails, as it does after a reset.
    """

    def done(task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # asyncio prints the exceptions that nobody has looked at
        ended()

    task: asyncio.Task[Any] | None = client._reading_task
    if task is None or task.done():
        ended()
    else:
        task.add_done_callback(done)


def bury(client: Client) -> None:
    """End what is left of a client whose connection has ended."""
    for subscription in list(client._subs.values()):
        task = subscription._wait_for_msgs_task
        if task is not None and not task.done():
            task.cancel()
    client._subs.clear()
    if client._transport is not None:
        client._transport.close()  # type: ignore[no-untyped-call]
