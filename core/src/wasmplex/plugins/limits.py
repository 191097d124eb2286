"""What the guests of one workload may take: ``limits`` in its table, and what providers are told of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from wasmplex.settings import Count, Duration, Settings, Size, positive

__all__ = ["Limits"]


class Limits(Settings):
    """``limits`` of a workload: the keys of its table, and what enforces them reads them here.

    Ordinary guests meet none of the defaults. A guest that meets one is told so in the way of the interface
    (``memory.grow`` gives -1, an error case says no, a call waits); where there is no such way it is trapped
    with a message that names the key.
    """

    memory: Annotated[Size, AfterValidator(positive)] = 256 * 2**20
    """What one instance may have: its linear memories, tables and garbage-collected heaps together. A guest
    that asks for more is refused by `memory.grow` and `table.grow`."""
    timeout: Annotated[Duration, AfterValidator(positive)] = 10.0
    """How long one call may take, the wait for an instance included; then it is cancelled, 504 over HTTP."""
    max_body: Size = 64 * 2**20
    """Bytes that the body of a request may have; 413 above."""
    tables: Count = 1_000_000
    """Elements that all tables of one instance may have together; each takes 8 bytes of `memory`."""
    handles: Count = 10_000
    """Resources of the host that one instance may hold at once; it traps when it is handed one more."""
    calls_in_flight: Count = 1_000
    """Async host calls that one instance may have under way at once; it traps when it begins one more."""
    bytes_in_flight: Annotated[Size, AfterValidator(positive)] = 64 * 2**20
    """Bytes that the host holds for one instance: arguments of async calls under way, results that it has not
    taken, and 8 KiB for each call; it traps when there are more. As many may be on their way in streams; what
    feeds these waits."""
    host_calls_per_second: Count | None = None
    """Calls of the host that all instances of the workload may make in a second, and as many at once; then
    they are held back, and who cannot be traps. As many as they like if absent."""
    log_bytes_per_second: Annotated[Size, AfterValidator(positive)] = 2**20
    """Bytes that all instances of the workload may write to the log in a second."""
    outgoing_requests: Count = 256
    """Outgoing HTTP requests that all instances of the workload may have under way together."""
    descriptors: Count = 512
    """Files, directories and sockets that all instances of the workload may have open together."""
