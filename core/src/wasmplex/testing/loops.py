"""The event loops that a host runs on: uvloop, which ``wasmplex run`` takes where it is, and asyncio's own.

What one takes the other may not: the transports of uvloop are no `asyncio.Transport`, its clock stands still
within a turn, and it closes later. So what opens connections is to be tested on both.

.. code-block:: python

    @pytest.fixture(params=EVENT_LOOPS.values(), ids=list(EVENT_LOOPS))
    def anyio_backend(request):
        return request.param
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

__all__ = ["EVENT_LOOPS", "EventLoop", "everything", "usual"]

EventLoop: TypeAlias = tuple[str, dict[str, Any]]
"""What the fixture ``anyio_backend`` returns: a backend of anyio, and its options."""

EVENT_LOOPS: Final[Mapping[str, EventLoop]] = {
    **({"uvloop": ("asyncio", {"use_uvloop": True})} if find_spec("uvloop") else {}),
    "asyncio": ("asyncio", {"use_uvloop": False}),
}
"""Each by its name; the first is the one that ``wasmplex run`` has here."""


def everything() -> bool:
    """Return whether all tests are to run on every loop: ``WASMPLEX_TEST_LOOPS=all`` in the environment."""
    return os.environ.get("WASMPLEX_TEST_LOOPS") == "all"


def usual() -> Mapping[str, EventLoop]:
    """Return the loops for tests that are not about loops: that of ``wasmplex run``, or all if asked to."""
    return EVENT_LOOPS if everything() else dict(list(EVENT_LOOPS.items())[:1])
