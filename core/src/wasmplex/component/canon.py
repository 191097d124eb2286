"""Canonical definitions: what lifts and lowers functions, and the built-in functions of the canonical ABI.

One table says for each opcode which operands follow and which proposal it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from wasmplex.component import coretypes
from wasmplex.component.binary import Cursor
from wasmplex.component.entities import Item, Sort
from wasmplex.component.scope import Scope
from wasmplex.component.typedefs import read_result

__all__ = ["read_canon"]

_ASYNC = "component-model-async"
_MORE = "component-model-more-async-builtins"
_THREADING = "component-model-threading"
_ERROR_CONTEXT = "component-model-error-context"
_SHARED = "shared-everything-threads"

_FUNC, _TABLE, _MEMORY, _TYPE = 0x00, 0x01, 0x02, 0x10


class _Options(NamedTuple):
    is_async: bool
    has_callback: bool


def _read_options(cursor: Cursor, scope: Scope) -> _Options:
    is_async = has_callback = False
    for _ in cursor.vec("canonical options"):
        option = cursor.byte("a canonical option")
        match option:
            case 0x00 | 0x01 | 0x02:  # string encodings
                pass
            case 0x03:
                scope.core_index(cursor, _MEMORY)
            case 0x04 | 0x05:
                scope.core_index(cursor, _FUNC)
            case 0x06:
                is_async = True
                scope.context.proposals.add(_ASYNC)
            case 0x07:
                has_callback = True
                scope.core_index(cursor, _FUNC)
            case 0x08:
                scope.context.proposals.add("component-model-gc")
                scope.core_index(cursor, _TYPE)
            case 0x09:
                scope.context.proposals.add("component-model-gc")
            case _:
                cursor.unexpected(option, "a canonical option")
    return _Options(is_async, has_callback)


def _lift(cursor: Cursor, scope: Scope) -> None:
    _function_sort(cursor)
    scope.core_index(cursor, _FUNC)
    options = _read_options(cursor, scope)
    if options.is_async and not options.has_callback:
        scope.context.proposals.add("component-model-async-stackful")
    scope.add(Item(Sort.FUNC, scope.func(cursor)))


def _lower(cursor: Cursor, scope: Scope) -> None:
    _function_sort(cursor)
    scope.item(cursor, Sort.FUNC)
    _read_options(cursor, scope)


def _function_sort(cursor: Cursor) -> None:
    if (sort := cursor.byte("the sort of a function")) != 0x00:
        cursor.unexpected(sort, "the sort of a function (0)")


_Operand: TypeAlias = Callable[[Cursor, Scope], object]


def _transfer_options(cursor: Cursor, scope: Scope) -> None:
    if not _read_options(cursor, scope).is_async:
        scope.context.proposals.add(_MORE)


def _async_flag(cursor: Cursor, scope: Scope) -> None:
    if cursor.flag("whether it is async"):
        scope.context.proposals.add(_MORE)


def _slot(cursor: Cursor, scope: Scope) -> None:
    coretypes.read_pointer(cursor, scope.context.proposals)
    if cursor.u32("a slot"):
        scope.context.proposals.add(_THREADING)


def _cancellable(cursor: Cursor, _: Scope) -> None:
    cursor.flag("whether it can be cancelled")


def _core(sort: int) -> _Operand:
    return lambda cursor, scope: scope.core_index(cursor, sort)


def _type(cursor: Cursor, scope: Scope) -> None:
    scope.type(cursor)


def _resource(cursor: Cursor, scope: Scope) -> None:
    scope.resource(cursor)


_STREAM_OR_FUTURE: tuple[tuple[_Operand, ...], ...] = (
    (_type,),  # new
    (_type, _transfer_options),  # read
    (_type, _transfer_options),  # write
    (_type, _async_flag),  # cancel-read
    (_type, _async_flag),  # cancel-write
    (_type,),  # drop-readable
    (_type,),  # drop-writable
)

_BUILTINS: Mapping[int, tuple[str, tuple[_Operand, ...]]] = {
    0x02: ("", (_resource,)),  # resource.new
    0x03: ("", (_resource,)),  # resource.drop
    0x04: ("", (_resource,)),  # resource.rep
    0x07: (_ASYNC, (_resource,)),  # resource.drop async, an older draft
    0x08: (_ASYNC, ()),  # backpressure.set, an older draft
    0x24: (_ASYNC, ()),  # backpressure.inc
    0x25: (_ASYNC, ()),  # backpressure.dec
    0x09: (_ASYNC, (read_result, _read_options)),  # task.return
    0x05: (_ASYNC, ()),  # task.cancel
    0x0A: (_ASYNC, (_slot,)),  # context.get
    0x0B: (_ASYNC, (_slot,)),  # context.set
    0x06: (_ASYNC, (_async_flag,)),  # subtask.cancel
    0x0D: (_ASYNC, ()),  # subtask.drop
    **{0x0E + i: (_ASYNC, operands) for i, operands in enumerate(_STREAM_OR_FUTURE)},
    **{0x15 + i: (_ASYNC, operands) for i, operands in enumerate(_STREAM_OR_FUTURE)},
    0x1C: (_ERROR_CONTEXT, (_read_options,)),  # error-context.new
    0x1D: (_ERROR_CONTEXT, (_read_options,)),  # error-context.debug-message
    0x1E: (_ERROR_CONTEXT, ()),  # error-context.drop
    0x1F: (_ASYNC, ()),  # waitable-set.new
    0x20: (_ASYNC, (_cancellable, _core(_MEMORY))),  # waitable-set.wait
    0x21: (_ASYNC, (_cancellable, _core(_MEMORY))),  # waitable-set.poll
    0x22: (_ASYNC, ()),  # waitable-set.drop
    0x23: (_ASYNC, ()),  # waitable.join
    0x0C: (_ASYNC, (_cancellable,)),  # thread.yield
    0x26: (_THREADING, ()),  # thread.index
    0x27: (_THREADING, (_core(_TYPE), _core(_TABLE))),  # thread.new-indirect
    0x28: (_THREADING, ()),  # thread.resume-later
    **dict.fromkeys(range(0x29, 0x2E), (_THREADING, (_cancellable,))),  # thread.suspend and others
    0x2E: (_ASYNC, (_type,)),  # stream.forward
    0x2F: (_ASYNC, (_type,)),  # future.forward
    # Binary.md has a flag for `shared` before these operands; the tools write none.
    0x40: (_SHARED, (_core(_TYPE),)),  # thread.spawn-ref
    0x41: (_SHARED, (_core(_TYPE), _core(_TABLE))),  # thread.spawn-indirect
    0x42: (_SHARED, ()),  # thread.available-parallelism
}


def read_canon(cursor: Cursor, scope: Scope) -> None:
    """Read a canonical definition and add the function it defines."""
    cursor.spend()
    opcode = cursor.byte("a canonical definition")
    if opcode == 0x00:
        _lift(cursor, scope)
        return
    if opcode == 0x01:
        _lower(cursor, scope)
    elif (builtin := _BUILTINS.get(opcode)) is not None:
        proposal, operands = builtin
        if proposal:
            scope.context.proposals.add(proposal)
        for operand in operands:
            operand(cursor, scope)
    else:
        why = "it may be of a newer version of the component model than this host knows"
        raise cursor.error(f"unknown canonical definition {opcode:#04x}", cursor.pos - 1, why=why)
    scope.add_core(_FUNC)
