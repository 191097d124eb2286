"""What every backend gets for free, whatever its capability: deadlines, grants, typed errors, a circuit.

The interfaces put guarded objects between guest and backend. An `operation` of such an object has one
deadline; a `stream` has one for each piece, so that a transfer may take as long as it makes progress.
"""

from __future__ import annotations

import errno
import functools
from asyncio import sleep
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from pydantic import Field

from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.logs import get_logger, origin
from wasmplex.plugins.circuit import Circuit
from wasmplex.policy.deadline import within
from wasmplex.settings import Duration, Settings
from wasmplex.unreachable import why_unreachable

__all__ = ["Dialect", "Guard", "Guarded", "PolicySettings", "Scope", "operation", "steps", "stream", "typed"]

P = ParamSpec("P")
T = TypeVar("T")
logger = get_logger("wasmplex.interfaces")

Dialect: TypeAlias = Callable[[str, Any], Exception]
"""Turns the `CapabilityError` of a named operation into what the interface raises for it."""

_SHOWN = 300
"""Characters of a driver's text that are shown."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class PolicySettings(Settings):
    """What a binding of any capability may say besides the settings of its backend."""

    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """How long one operation may take."""
    namespace: str | None = None
    """Bindings with one backend and one namespace share what they store; `<workload>/<label>` if absent."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a binding belongs to; a cursor is good within the scope it came from.

    :ivar namespace: where what it stores is kept
    :ivar granted: the interfaces that its resources may be used through, None for all
    """

    workload: str
    label: str | None
    namespace: str
    granted: frozenset[str] | None = None


class Guard:
    """Stands between the guests and the backend of one binding.

    :param cases: the capability's errors
    :param dialect: how errors look to the guest
    :param timeout: seconds that an operation may take
    :param idle: seconds without progress that a stream may take; `timeout` if None
    :param granted: the interfaces that may be used, None for all
    :param circuit: whether the backend is known to be down
    :param plugin: who brought the backend, for the log
    :param label: the import, for the log
    """

    __slots__ = ("cases", "circuit", "dialect", "granted", "idle", "label", "plugin", "timeout")

    def __init__(
        self,
        cases: ErrorCases,
        dialect: Dialect,
        *,
        timeout: float,
        idle: float | None = None,
        granted: frozenset[str] | None = None,
        circuit: Circuit | None = None,
        plugin: str = "",
        label: str = "",
    ) -> None:
        self.cases = cases
        self.dialect = dialect
        self.timeout = timeout
        self.idle = timeout if idle is None else idle
        self.granted = granted
        self.circuit = circuit
        self.plugin = plugin
        self.label = label

    def admits(self, interface: str) -> bool:
        """Say whether an operation may be tried, see `admit`."""
        granted, circuit = self.granted, self.circuit
        return (granted is None or interface in granted) and not (circuit is not None and circuit.is_open)

    def admit(self, name: str, interface: str) -> None:
        """Raise, in the dialect, unless an operation may be tried.

        :param interface: the interface that it is called through: resources are handed to others than the one
            they came from, and those have to be granted as well
        """
        if self.granted is not None and interface not in self.granted:
            raise self.dialect(name, self.cases.denied(f"the configuration does not grant {interface}"))
        if self.circuit is not None and self.circuit.is_open:
            raise self.dialect(name, self.cases.unavailable("the backend is known to be down"))

    def refusal(self, name: str, error: Exception) -> Exception:
        """Return what to raise to the guest for `error`, whatever it is."""
        known = typed(self.cases, name, error, self.plugin, self.label)
        if self.circuit is not None:
            self._tell(self.circuit, name, known, error)
        return self.dialect(name, known)

    def _tell(self, circuit: Circuit, name: str, known: CapabilityError, error: Exception) -> None:
        """Tell the host what a server did not do, and what its operator may have to mend."""
        cause = known.__cause__ if known is error else error
        asking = origin()
        whose = None if asking is None else asking.named
        if known.unavailable:
            circuit.suspect(_why(name, known, cause), whose)
        elif known.configured:
            return
        elif isinstance(known, (self.cases.denied, self.cases.timeout)) or (
            # Without a cause it is a limit of the host's, or an argument that is none.
            cause is not None and isinstance(known, (self.cases.exceeded, self.cases.other))
        ):
            circuit.refuse(_why(name, known, cause), whose)


def typed(cases: ErrorCases, name: str, error: Exception, plugin: str, label: str = "") -> CapabilityError:
    """Return the typed error for whatever a backend raised in an operation, typed or not.

    The text of one that is not is for the host's log only: it may hold a path, an address or a secret.

    :param plugin: who brought the backend, for the log
    :param label: the import, for the log
    """
    match error:
        case CapabilityError() if isinstance(error, cases.base):
            return error
        case TimeoutError():
            return cases.timeout("no answer before the deadline")
        case ConnectionError() | OSError(errno=errno.EHOSTUNREACH | errno.ENETUNREACH):
            return cases.unavailable(why_unreachable(error) or type(error).__name__)
        case MemoryError():
            return cases.exceeded("out of memory")
        case PermissionError():
            return cases.denied(error.strerror or "no permission")
        case OSError(errno=code) if code in _FULL:
            return cases.exceeded(error.strerror or "no space")
        case OSError() if error.strerror:
            return cases.other(error.strerror)
    who, what, more = plugin or "a backend", cases.capability, {"label": label, "operation": name}
    logger.warning("%s: %s %s failed with an untyped error", who, what, name, exc_info=error, extra=more)
    return cases.other(type(error).__name__)


def _why(name: str, known: CapabilityError, cause: BaseException | None) -> str:
    """Return what is said of an error to the operator, who may know more than the guest."""
    system = cause.strerror if isinstance(cause, OSError) else None  # without its number
    if cause is not None and system and known.unavailable:
        system = why_unreachable(cause)  # without an address
    said = system or cause
    text = " ".join(str(said).split())[:_SHOWN] if said is not None else ""
    return f"{name}: {known}{f' ({text})' if text and text != str(known) else ''}"


class Guarded(Protocol):
    """An object whose methods are operations or streams."""

    @property
    def guard(self) -> Guard:
        """What stands before its backend."""


G = TypeVar("G", bound=Guarded)


def operation(
    name: str, interface: str, *, returns: type | UnionType = object, transfer: bool = False
) -> Callable[
    [Callable[Concatenate[G, P], Coroutine[Any, Any, T]]], Callable[Concatenate[G, P], Coroutine[Any, Any, T]]
]:
    """Make a method that checks its arguments and returns what is to be awaited into an operation.

    The operation runs under the deadline, and whatever is raised on the way is refused in the dialect.

    :param returns: what the backend has to return; anything else is its mistake, and refused like one
    :param transfer: the operation moves one piece of a transfer: it has the deadline of a stream
    """

    def decorate(
        checked: Callable[Concatenate[G, P], Coroutine[Any, Any, T]],
    ) -> Callable[Concatenate[G, P], Coroutine[Any, Any, T]]:
        @functools.wraps(checked)
        async def guarded(self: G, /, *args: P.args, **kwargs: P.kwargs) -> T:
            guard = self.guard
            if guard.granted is not None or guard.circuit is not None:
                guard.admit(name, interface)
            try:
                seconds = guard.idle if transfer else guard.timeout
                result = await within(seconds, checked(self, *args, **kwargs))
            except Exception as error:
                raise guard.refusal(name, error) from error
            if not isinstance(result, returns):
                wrong = TypeError(f"{name} returned a value of type {type(result).__name__}")
                raise guard.refusal(name, wrong)
            return result

        return guarded

    return decorate


def stream(
    name: str, interface: str
) -> Callable[
    [Callable[Concatenate[G, P], AsyncIterator[T]]], Callable[Concatenate[G, P], AsyncGenerator[T, None]]
]:
    """Make a method that checks its arguments and returns an iterator into a stream under the policy.

    Each piece has the idle deadline. The iterator is closed when the stream is, in whatever way it ends.
    """

    def decorate(
        checked: Callable[Concatenate[G, P], AsyncIterator[T]],
    ) -> Callable[Concatenate[G, P], AsyncGenerator[T, None]]:
        @functools.wraps(checked)
        async def guarded(self: G, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
            guard = self.guard
            guard.admit(name, interface)
            pieces: AsyncIterator[T] | None = None
            try:
                pieces = checked(self, *args, **kwargs)
                while True:
                    try:
                        piece = await within(guard.idle, _next(pieces))
                    except StopAsyncIteration:
                        return
                    yield piece
            except Exception as error:
                raise guard.refusal(name, error) from error
            finally:
                if (close := getattr(pieces, "aclose", None)) is not None:
                    await close()

        return guarded

    return decorate


def steps(
    name: str, interface: str
) -> Callable[
    [Callable[Concatenate[G, P], AsyncIterator[Any]]], Callable[Concatenate[G, P], Coroutine[Any, Any, None]]
]:
    """Make a method that checks its arguments and returns an iterator into an operation of any length.

    It is done when the iterator ends; each step has the idle deadline, as a piece of a `stream` has.
    """

    def decorate(
        checked: Callable[Concatenate[G, P], AsyncIterator[Any]],
    ) -> Callable[Concatenate[G, P], Coroutine[Any, Any, None]]:
        streamed = stream(name, interface)(checked)

        @functools.wraps(checked)
        async def guarded(self: G, /, *args: P.args, **kwargs: P.kwargs) -> None:
            async with aclosing(streamed(self, *args, **kwargs)) as steps:
                async for _ in steps:
                    await sleep(0)  # steps that never wait would keep everybody else waiting

        return guarded

    return decorate


async def _next(pieces: AsyncIterator[T]) -> T:
    return await anext(pieces)
