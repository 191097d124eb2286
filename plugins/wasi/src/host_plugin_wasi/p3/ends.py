"""What the packages of WASI 0.3 have in common: a stream with a future of how it ended, and error codes.

Errors of 0.2 are names; those of 0.3 are a variant that has most of these names for its cases.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Coroutine
from functools import wraps
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.io import Error

__all__ = ["Codes", "Reading", "failing", "finished", "no_input"]

T = TypeVar("T")


class Codes:
    """The error codes of one package.

    :param cases: those of the variant that are also names in 0.2
    :param others: what stands for names that are no case
    """

    def __init__(self, cases: Collection[str], others: dict[str, Variant]) -> None:
        self._known = {name: Variant(name) for name in cases} | others

    def of(self, value: Any) -> Variant:
        """Return the code for what an operation of 0.2 has failed with: its code, or a stream's error."""
        if isinstance(value, Variant):
            if isinstance(value.value, Error):
                return self.of(value.value.code)
            return value if value.tag in self._known or value.tag == "other" else Variant("other", value.tag)
        return self._known.get(value) or Variant("other", str(value))

    def translated(self, method: Callable[..., Any], change: Callable[[Any], Any] | None = None) -> Any:
        """Return a function that does what a method of 0.2 does.

        :param change: makes the result that of 0.3
        """

        def changed(value: Any) -> Any:
            return value if change is None else change(value)

        async def later(value: Awaitable[Any]) -> Any:
            try:
                return changed(await value)
            except Err as error:
                raise Err(self.of(error.value)) from None

        @wraps(method)
        def call(*args: Any) -> Any:
            try:
                value = method(*args)
            except Err as error:
                raise Err(self.of(error.value)) from None
            return later(value) if isawaitable(value) else changed(value)

        return call


class Reading(Generic[T]):
    """A stream from the host, and the future of how it ended.

    :param pieces: what it yields; an `Err` that it raises ends it
    :param codes: what such an error becomes
    :param release: lets go of what it reads from; called once
    """

    def __init__(
        self, pieces: AsyncGenerator[T, None], codes: Codes, release: Callable[[], None] | None = None
    ) -> None:
        self._pieces = pieces
        self._codes = codes
        self._release = release
        self._ended: asyncio.Future[Variant | None] = asyncio.get_running_loop().create_future()

    async def __aiter__(self) -> AsyncIterator[T]:
        error: Variant | None = None
        try:
            async for piece in self._pieces:
                yield piece
        except Err as failed:
            error = self._codes.of(failed.value)
        finally:
            await self._pieces.aclose()
            self._say(error)

    def _say(self, error: Variant | None) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
        if not self._ended.done():
            self._ended.set_result(error)

    def close(self) -> None:
        """End it: nobody has begun to read."""
        self._say(None)

    async def outcome(self) -> None:
        """Return when it has ended.

        :raises Err: with the code, if that was not its end
        """
        if (error := await asyncio.shield(self._ended)) is not None:
            raise Err(error)

    @property
    def both(self) -> tuple[Reading[T], Coroutine[Any, Any, None]]:
        """What a function returns for it."""
        return self, self.outcome()


async def failing(error: Err[Any]) -> AsyncGenerator[Any, None]:
    """Be a stream that fails at once."""
    raise error
    yield


async def finished(error: Variant | None = None) -> None:
    """Be the outcome of something that is over."""
    if error is not None:
        raise Err(error)


async def no_input() -> AsyncGenerator[bytes, None]:
    """Be a stream that is at its end."""
    return
    yield b""
