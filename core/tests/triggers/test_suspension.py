"""Awaiting with an eye on when it waits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref

import pytest
from wasmplex.triggers.http.suspension import attentive

pytestmark = pytest.mark.anyio


async def test_what_ends_it_is_not_kept_by_what_it_went_through() -> None:
    class Thrown(asyncio.CancelledError):
        pass

    async def waiting() -> None:
        await asyncio.get_running_loop().create_future()

    gc.disable()  # circles are to stay
    try:
        stepped = attentive(waiting(), lambda: None)
        stepped.send(None)
        error = Thrown()
        kept = weakref.ref(error)
        with contextlib.suppress(Thrown):
            stepped.throw(error)
        del error, stepped
        assert kept() is None
    finally:
        gc.enable()
