"""An instance that is in several calls at once, and goes on until what these began has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from wasmplex.bridge.bridging import Bridged
from wasmplex.bridge.exportcodecs import ExportCodec
from wasmplex.bridge.exporting import ExportSession
from wasmplex.bridge.exports import CALL
from wasmplex.bridge.instance import BridgedInstance, EngineInstance, named, tell_late
from wasmplex.bridge.port import export_session
from wasmplex.bridge.protocol import SERVE
from wasmplex.bridge.serving import Entered, ServingActor
from wasmplex.errors import GuestError, Trap, exited_well
from wasmplex.logs import SharedOrigin, origin

__all__ = ["SharedInstance"]


class SharedInstance(BridgedInstance):
    """See `wasmplex.bridge.serving`.

    A call that is given up goes on in the guest, which cannot be made to leave it; its result is thrown away,
    and the instance takes no further calls. Others go on, and what they have returned: who has the instance
    closes it when they are over.
    """

    def __init__(self, inner: EngineInstance, bridged: Bridged) -> None:
        super().__init__(inner, bridged)
        self._driver: asyncio.Task[None] | None = None
        self._together = 0
        """Calls that were begun since nothing went on in it."""
        self._origin = SharedOrigin(inner.workload)
        self._left = False
        self._failed = False
        self._session: ExportSession | None = None
        self._actor: ServingActor | None = None

    @property
    def poisoned(self) -> bool:
        """True once it takes no more calls."""
        return self.inner.poisoned or self._left or self._failed

    @property
    def lingers(self) -> bool:
        """Whether something goes on in it."""
        return self._driver is not None

    async def rest(self) -> None:
        """Wait until nothing goes on in it."""
        while self._driver is not None:
            await asyncio.wait([self._driver])

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export, beside others that are under way; see `wasmplex.plugin.GuestInstance`."""
        codec = None if self.above is None else self.above.codecs.get(export)
        if codec is None:
            return await super().call(export, *args)
        call = self._begin(codec, args)
        try:
            return await call.result
        except asyncio.CancelledError:
            call.result.cancel()
            self._left = True
            raise
        finally:
            del call  # the error that it holds refers to this frame

    def calls_each(self, export: str) -> bool:
        """Say that it makes the first of several calls only."""
        return False

    async def call_each(
        self, export: str, calls: Sequence[tuple[Any, ...]], results: list[Any], _: Callable[[], None]
    ) -> None:
        """Make the first of some calls; see `wasmplex.plugin.GuestInstance`."""
        await self._call_first(export, calls[0], results)

    def _begin(self, codec: ExportCodec, args: tuple[Any, ...]) -> Entered:
        actor = self._actor or self._start()
        self._origin.add(origin())
        call = actor.begin(codec, args)
        if self._driver is None or self._driver.done():  # it may have ended in this very turn of the loop
            loop, context = asyncio.get_running_loop(), self._origin.context()
            self._driver = loop.create_task(self._serve(actor), context=context)
            self._driver.add_done_callback(self._over)
            self._together = 0
        self._together += 1
        return call

    def _start(self) -> ServingActor:
        assert self.above is not None  # noqa: S101  the caller has looked
        self._session = export_session(self.inner, self.above.kinds, self.transport)
        self._session.serving = self._actor = actor = ServingActor(self._session)
        return actor

    async def _serve(self, actor: ServingActor) -> None:
        while actor.calls:
            try:
                await self.inner.call(CALL, SERVE, "")
            except BaseException as error:
                self._fail(actor, error)
                raise

    def _fail(self, actor: ServingActor, error: BaseException) -> None:
        """Have all calls fail that have not returned."""
        self._failed = True
        calls = [call for call in actor.calls if not call.result.done()]
        if calls and self._together > 1 and exited_well(error):
            # Nobody knows who has exited, and what the others were to do is not done.
            error = Trap(f"workload {self.workload!r}: the guest exited with several calls under way")
        if isinstance(error, GuestError):
            named(error, calls[0].codec.function.path if calls else self._what())
        for call in calls:
            if isinstance(error, asyncio.CancelledError):
                call.result.cancel()
            else:
                call.result.set_exception(error)
        actor.clear()
        if not isinstance(error, asyncio.CancelledError):
            if not calls:
                tell_late(self.workload, error)
            self.fail(error)

    def _what(self) -> str:
        assert self.above is not None  # noqa: S101  there has been a call
        return next(iter(self.above.codecs))

    def _over(self, driver: asyncio.Task[None]) -> None:
        if self._driver is driver:
            self._driver = None
        if not driver.cancelled():
            driver.exception()  # who waited for a call has got it

    def close(self) -> None:
        """End the instance, and whatever goes on in it; see `BridgedInstance.close`."""
        if self._driver is not None:
            self._driver.cancel()
        super().close()
