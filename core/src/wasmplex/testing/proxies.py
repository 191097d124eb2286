"""Proxies made from a contract: everything is passed on, and somebody is asked before.

A contract is an abstract class (`wasmplex.capabilities`). What its methods return is a proxy again where it
is an object of a contract: the bucket that a key-value backend opens. Asynchronous context managers and
iterators are passed on piece by piece, so that a stream can be held up, or break, in its midst.
"""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, wraps
from typing import Any, TypeAlias, TypeVar, cast

__all__ = ["Before", "contract_of", "proxy"]

C = TypeVar("C")
F = TypeVar("F", bound=Callable[..., Any])
Before: TypeAlias = Callable[[str, tuple[Any, ...]], Awaitable[None]]
"""Called with an operation's name and arguments before it is passed on; ``"watch:next"`` for a piece."""

_PASSED_ON = frozenset({"close"})
"""Operations that nobody is asked about: a double must not keep a host from ending."""
_OWN = frozenset({"circuit", "never_waits", "plain"})
"""Attributes that are not passed on: what the host sets, and what leads past the proxy."""


def proxy(inner: C, before: Before) -> C:
    """Return an object of the same contract as `inner` that passes everything on, having awaited `before`.

    :raises TypeError: if `inner` is of no contract
    """
    contract = contract_of(type(inner))
    if contract is None:
        raise TypeError(f"{type(inner).__name__} is derived from no abstract class, so there is no contract")
    made: Any = object.__new__(_proxy_type(contract))
    vars(made)["_inner"], vars(made)["_before"] = inner, before
    return cast(C, made)


def contract_of(kind: type) -> type[ABC] | None:
    """Return the nearest abstract class that a class is derived from; None if there is none."""
    return next((base for base in kind.__mro__[1:] if inspect.isabstract(base)), None)


@cache
def _proxy_type(contract: type[ABC]) -> type:
    members: dict[str, Any] = {}
    for name in dir(contract):
        if not name.startswith("_") and name not in _OWN:
            member = inspect.getattr_static(contract, name)
            members[name] = _method(name, member) if inspect.isroutine(member) else _attribute(name)
    for owner in contract.__mro__:
        for name in inspect.get_annotations(owner):
            if not name.startswith("_") and name not in _OWN:
                members.setdefault(name, _attribute(name))
    members["__repr__"] = lambda self: f"<proxy of {self._inner!r}>"
    return type(f"{contract.__name__}Proxy", (contract,), members)


def _attribute(name: str) -> property:
    def get(self: Any) -> Any:
        return getattr(self._inner, name)

    def set_(self: Any, value: Any) -> None:
        setattr(self._inner, name, value)

    return property(get, set_)


def _method(name: str, member: Any) -> Callable[..., Any]:
    if name in _PASSED_ON or not inspect.iscoroutinefunction(member):

        @_named(member)
        def passed_on(self: Any, *args: Any, **kwargs: Any) -> Any:
            return _wrapped(getattr(self._inner, name)(*args, **kwargs), name, args, self._before)

        return passed_on

    @_named(member)
    async def asked(self: Any, *args: Any, **kwargs: Any) -> Any:
        await self._before(name, args)
        return _wrapped(await getattr(self._inner, name)(*args, **kwargs), name, args, self._before)

    return asked


def _named(member: Any) -> Callable[[F], F]:
    def name(function: F) -> F:
        made = wraps(member)(function)
        vars(made).pop("__isabstractmethod__", None)  # it came with the rest
        return cast(F, made)

    return name


def _wrapped(value: Any, name: str, args: tuple[Any, ...], before: Before) -> Any:
    """Return what is to be handed out for something that an operation returned."""
    if isinstance(value, AbstractAsyncContextManager) and contract_of(type(value)) in (None, *_STANDARD):
        return _context(value, name, args, before)
    if isinstance(value, AsyncIterator):
        return _pieces(value, name, args, before)
    contract = contract_of(type(value))
    return (
        value
        if contract is None or contract in _STANDARD or isinstance(value, Awaitable | Sequence)
        else proxy(value, before)
    )


_STANDARD = (AbstractAsyncContextManager, AsyncIterator)


@asynccontextmanager
async def _context(
    inner: AbstractAsyncContextManager[Any], name: str, args: tuple[Any, ...], before: Before
) -> AsyncIterator[Any]:
    await before(name, args)
    async with inner as value:
        pieces = isinstance(value, AsyncIterator)
        yield _each(value, name, before) if pieces else _wrapped(value, name, args, before)


async def _pieces(
    inner: AsyncIterator[Any], name: str, args: tuple[Any, ...], before: Before
) -> AsyncIterator[Any]:
    await before(name, args)
    async for piece in _each(inner, name, before):
        yield piece


async def _each(inner: AsyncIterator[Any], name: str, before: Before) -> AsyncIterator[Any]:
    try:
        while True:
            await before(f"{name}:next", ())
            try:
                piece = await anext(inner)
            except StopAsyncIteration:
                return
            yield piece
    finally:
        if close := getattr(inner, "aclose", None):
            await close()
