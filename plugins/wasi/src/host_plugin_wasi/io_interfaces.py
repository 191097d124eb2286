"""The functions of ``wasi:io``: they find the method on the object they are handed.

Each is one frame deep where the method answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmplex.plugin import Tables

from host_plugin_wasi.io import READ_LIMIT, InputStream, OutputStream, Pollable, Violation, wait_any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, HostFunctions, WorkloadContext

__all__ = ["bind"]


async def _block(pollable: Pollable) -> None:
    if not pollable.ready():
        await wait_any((pollable,))


async def _read(stream: InputStream, length: int) -> bytes:
    data = stream.read(min(length, READ_LIMIT))
    return data if isinstance(data, bytes) else await data


async def _blocking_read(stream: InputStream, length: int) -> bytes:
    data = stream.blocking_read(min(length, READ_LIMIT))
    return data if isinstance(data, bytes) else await data


async def _skip(stream: InputStream, length: int) -> int:
    count = stream.skip(min(length, READ_LIMIT))
    return count if isinstance(count, int) else await count


async def _blocking_skip(stream: InputStream, length: int) -> int:
    count = stream.blocking_skip(min(length, READ_LIMIT))
    return count if isinstance(count, int) else await count


async def _write(stream: OutputStream, contents: bytes) -> None:
    if (pending := stream.write(contents)) is not None:
        await pending


async def _blocking_write_and_flush(stream: OutputStream, contents: bytes) -> None:
    if (pending := stream.blocking_write_and_flush(contents)) is not None:
        await pending


async def _flush(stream: OutputStream) -> None:
    if (pending := stream.flush()) is not None:
        await pending


async def _blocking_flush(stream: OutputStream) -> None:
    if (pending := stream.blocking_flush()) is not None:
        await pending


async def _write_zeroes(stream: OutputStream, length: int) -> None:
    if (pending := stream.write_zeroes(length)) is not None:
        await pending


async def _blocking_write_zeroes_and_flush(stream: OutputStream, length: int) -> None:
    if (pending := stream.blocking_write_zeroes_and_flush(length)) is not None:
        await pending


async def _splice(stream: OutputStream, source: InputStream, length: int) -> int:
    count = stream.splice(source, length)
    return count if isinstance(count, int) else await count


async def _blocking_splice(stream: OutputStream, source: InputStream, length: int) -> int:
    count = stream.blocking_splice(source, length)
    return count if isinstance(count, int) else await count


def _poll(most: int) -> Callable[[Sequence[Pollable]], Awaitable[list[int]]]:
    async def poll(pollables: Sequence[Pollable]) -> list[int]:
        if len(pollables) > most:
            raise Violation(
                f"wasi:io/poll: a list of {len(pollables)} pollables, and an instance may hold {most}",
                fix="raise limits.handles of the workload",
            )
        return await wait_any(pollables)

    return poll


_INTERFACES: dict[str, HostFunctions] = {
    "error": {
        "[method]error.to-debug-string": lambda error: error.to_debug_string(),
    },
    "poll": {
        "[method]pollable.ready": lambda pollable: pollable.ready(),
        "[method]pollable.block": _block,
    },
    "streams": {
        "[method]input-stream.read": _read,
        "[method]input-stream.blocking-read": _blocking_read,
        "[method]input-stream.skip": _skip,
        "[method]input-stream.blocking-skip": _blocking_skip,
        "[method]input-stream.subscribe": lambda stream: stream.subscribe(),
        "[method]output-stream.check-write": lambda stream: stream.check_write(),
        "[method]output-stream.write": _write,
        "[method]output-stream.blocking-write-and-flush": _blocking_write_and_flush,
        "[method]output-stream.flush": _flush,
        "[method]output-stream.blocking-flush": _blocking_flush,
        "[method]output-stream.subscribe": lambda stream: stream.subscribe(),
        "[method]output-stream.write-zeroes": _write_zeroes,
        "[method]output-stream.blocking-write-zeroes-and-flush": _blocking_write_zeroes_and_flush,
        "[method]output-stream.splice": _splice,
        "[method]output-stream.blocking-splice": _blocking_splice,
    },
}


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:io``; all that differs between workloads is how many pollables a list may have."""
    poll = {**_INTERFACES["poll"], "poll": _poll(workload.limits.handles)}
    return Tables({**_INTERFACES, "poll": poll}).context()
