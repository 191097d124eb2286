"""The functions of an adapter with their codecs, and the Python that serves each.

Codecs belong to the component and are made once; a `Served` function is one of them with its Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.codec import Reader, Writer, reader, whole_call, writer
from wasmplex.bridge.elements import Elements
from wasmplex.bridge.kinds import FUTURE, STREAM, End, Function, KindTable, lifts, lowers
from wasmplex.bridge.layout import flatten
from wasmplex.bridge.places import Exchanged, returns_flat
from wasmplex.plugins.contracts import HostFunction
from wasmplex.wit.types import ResultType, StreamType

__all__ = ["AdapterKinds", "Codec", "Served", "codecs", "is_coroutine", "serve"]


@dataclass(frozen=True, slots=True)
class Codec:
    """How one function's blocks are read and written.

    :ivar owns: whether its parameters hold owned handles
    :ivar takes: whether the host has to have them taken apart first
    :ivar hands: whether its result holds handles
    :ivar gives: whether the host has to have them made first
    :ivar fallible: whether its result is a WIT ``result``, whose err case is raised as `Err`
    """

    function: Function
    read: Reader
    write: Writer
    owns: bool
    takes: bool
    hands: bool
    gives: bool
    fallible: bool


@dataclass(frozen=True, slots=True)
class Served:
    """A function with the Python that serves it.

    :ivar context: whether the Python wants the calling instance first
    :ivar whole: the whole call in one function, where no handles are exchanged and nothing waits
    :ivar direct: whether its calls are direct (`wasmplex.bridge.direct`)
    :ivar plain: whether it is an async function, served by a ``def`` that returns its result or what is to be
        awaited for it
    """

    codec: Codec
    call: Callable[..., Any]
    context: bool
    whole: Callable[[Any, int, int, Any, Any], bytearray] | None = None
    direct: bool = False
    plain: bool = False


def codecs(
    functions: Sequence[Function], kinds: KindTable, exchanged: Mapping[int, Exchanged]
) -> tuple[Codec, ...]:
    """Make the codecs of an adapter's functions.

    :param exchanged: how it exchanges the handles of each by itself, by number
    """
    return tuple(_codec(function, kinds, exchanged[function.number]) for function in functions)


def _codec(function: Function, kinds: KindTable, exchanged: Exchanged) -> Codec:
    params = [param.type for param in function.type.params]
    result = function.type.result
    owns, hands = lifts(params, kinds.custody), lowers([result], kinds.custody)
    return Codec(
        function,
        reader(params, kinds),
        writer(result, kinds, flat=returns_flat(function), even=function.twin is not None),
        owns=owns,
        takes=owns and exchanged.taking is None,
        hands=hands,
        gives=hands and exchanged.giving is None,
        fallible=isinstance(result, ResultType),
    )


def serve(
    codec: Codec, function: HostFunction | Callable[..., Any], kinds: KindTable, *, direct: bool
) -> Served:
    """Pair a codec with its Python.

    :param direct: whether its calls are direct
    """
    call, context = (
        (function.call, function.context) if isinstance(function, HostFunction) else (function, False)
    )
    if direct:
        return Served(codec, call, context, direct=True)
    type_ = codec.function.type
    if codec.takes or codec.gives or codec.function.waits or type_.is_async:
        return Served(codec, call, context, plain=type_.is_async and not is_coroutine(call))
    params = [param.type for param in type_.params]
    flat = len(flatten(type_.result)) <= 1 if type_.result else True
    even = codec.function.twin is not None
    whole = whole_call(params, type_.result, kinds, call, flat=flat, context=context, even=even)
    return Served(codec, call, context, whole)


def is_coroutine(function: HostFunction | Callable[..., Any]) -> bool:
    """Say whether a host function is ``async def``."""
    return inspect.iscoroutinefunction(function.call if isinstance(function, HostFunction) else function)


class AdapterKinds:
    """What a session needs to know of the kinds of its adapter."""

    def __init__(self, kinds: KindTable, builtins: Builtins, heap: int) -> None:
        self.resources = kinds.resources
        self.resource = builtins.resource
        self.custody = [kinds.custody(resource) for resource in kinds.resources]
        self.elsewhere: dict[tuple[int, int], int] = {}
        self._firsts: tuple[list[int], ...] = ([], builtins.stream, builtins.future)
        self._elements: tuple[list[Elements], ...] = (
            [],
            [Elements(stream.element, kinds, heap) for stream in kinds.streams],
            [Elements(future.element, kinds, heap, single=True) for future in kinds.futures],
        )

    def note_elsewhere(self, ends: Collection[End], own: KindTable, theirs: KindTable) -> None:
        """Note the streams and futures that are made, and so written, by another adapter.

        :param own: the numbers of types in this adapter
        :param theirs: those in the other
        """
        for end in ends:
            if isinstance(end, StreamType):
                self.elsewhere[STREAM, own.stream(end)] = theirs.stream(end)
            else:
                self.elsewhere[FUTURE, own.future(end)] = theirs.future(end)

    def first(self, sort: int, kind: int) -> int:
        """Return the number of the built-in ``new`` of a stream or future type."""
        return self._firsts[sort][kind]

    def elements(self, sort: int, kind: int) -> Elements:
        """Return the element codec of a stream or future type."""
        return self._elements[sort][kind]
