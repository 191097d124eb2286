"""How the arguments and results of exported functions are written and read."""

from __future__ import annotations

from dataclasses import dataclass

from wasmplex.bridge.codec import Reader, Writer, reader, writer
from wasmplex.bridge.codec.several import Body, SeveralWriter, several_writer
from wasmplex.bridge.exports import ExportAdapter, passes_in_memory, returns_in_memory
from wasmplex.bridge.kinds import Function, KindTable, inner_types, lifts, lowers
from wasmplex.bridge.places import Exchanged
from wasmplex.wit.types import FutureType, StreamType, TupleType

__all__ = ["ExportCodec", "export_codecs"]


@dataclass(frozen=True, slots=True)
class ExportCodec:
    """How the blocks of one exported function are written and read.

    :ivar kinds: the numbers of what these hold
    :ivar early: whether the adapter makes the handles that its parameters hold, and these can be written
        before it is known where they will lie
    :ivar takes: whether its result holds handles that the host has to turn into objects
    :ivar handles: whether there are handles in either at all
    :ivar moves: whether streams or futures are in either: a call may go on after it has returned
    """

    function: Function
    kinds: KindTable
    write: Writer
    read: Reader
    early: bool
    takes: bool
    handles: bool
    moves: bool

    def write_several(self, body: Body | None = None) -> SeveralWriter:
        """Make a writer of the arguments of several calls.

        :param body: what is to be done with a stream of bytes in them
        """
        return several_writer(
            _arguments(self.function), self.kinds, flat=not passes_in_memory(self.function), body=body
        )


def export_codecs(adapter: ExportAdapter) -> dict[str, ExportCodec]:
    """Make the codecs of an adapter's functions, by the names that a call gives."""
    return {
        function.path: _codec(function, adapter.kinds, adapter.exchanged[function.number])
        for function in adapter.functions
    }


def _codec(function: Function, kinds: KindTable, exchanged: Exchanged) -> ExportCodec:
    params = [param.type for param in function.type.params]
    result = function.type.result
    return ExportCodec(
        function,
        kinds,
        writer(_arguments(function), kinds, flat=not passes_in_memory(function)),
        reader([] if result is None else [result], kinds, flat=not returns_in_memory(function)),
        early=exchanged.giving is not None,
        takes=exchanged.taking is None and lifts([result], kinds.custody),
        handles=lowers(params, kinds.custody) or lifts([result], kinds.custody),
        moves=any(
            isinstance(part, (StreamType, FutureType))
            for type_ in (*params, result)
            for part in inner_types(type_)
        ),
    )


def _arguments(function: Function) -> TupleType | None:
    """Return the type of a function's arguments; None if it takes none."""
    params = function.type.params
    return TupleType(tuple(param.type for param in params)) if params else None
