"""Direct calls: host functions that read their arguments where the adapter has them, and answer in place.

For the memory transport, and functions whose handles, if they have any, the adapter exchanges by itself. The
adapter stores a call's flat values in its *box*, calls a host function of the type ``func()``, and finds the
result in its memory. One generated Python function for each does all of it.

The box, at fixed addresses of the memory of calls::

    ROUSE   written by the host: the record of a task to wake, or 0
    TO      where an answer with data out of line goes, if there can be one
    MORE    written by the host: bytes that the answer needs, where it has not been put in place
    SLOTS   the flat values of the call, 8 bytes each
    RESULT  an answer without data out of line

An answer begins `HEADER` bytes behind its address, as in every transport; that of a ``result`` says ok before
the host is asked. The pointers in the box were written by wasmtime, which has checked what the guest gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from wasmplex.bridge.codec import writer
from wasmplex.bridge.codec.read import Kinds
from wasmplex.bridge.codec.source import Source
from wasmplex.bridge.codec.whole import REFUSALS, SLOT, argument_slots, arguments, in_memory
from wasmplex.bridge.codec.write import lower, store
from wasmplex.bridge.kinds import Function, KindTable, inner_types, points
from wasmplex.bridge.layout import align_to, cases, flatten, payload_offset, size
from wasmplex.bridge.places import Exchanged
from wasmplex.bridge.protocol import DROPPED, HEADER, MORE, RESULT, RESULT_BYTES, ROOM, ROUSE, SLOTS, TO
from wasmplex.bridge.transport import TransportName
from wasmplex.engine.bare import BareFunction
from wasmplex.engine.memory import RAW, U8, U32
from wasmplex.values import Err, Ok
from wasmplex.wit.mismatch import mismatch
from wasmplex.wit.types import Borrow, ListType, Option, Primitive, ResultType, ValueType

if TYPE_CHECKING:
    from wasmplex.bridge.session import Session

__all__ = ["DIRECT", "Box", "answers_in_arena", "direct", "dropping", "is_direct"]

DIRECT: Final = "direct-"
"""What the host's functions for direct calls are called, with the function's number behind."""
_INLINE: Final = 4096
_LARGE: Final = ROOM - _INLINE
"""Bytes in line, and out of line, above which an answer is made as a block, which can be kept back until
there is room: what is put in place at once must not reach beyond it."""


def is_direct(
    function: Function, kinds: KindTable, transport: TransportName, exchanged: Exchanged, *, tasks: bool
) -> bool:
    """Say whether calls of a function are direct.

    :param exchanged: how the adapter exchanges its handles
    :param tasks: whether its adapter has tasks
    """
    lent = [
        part.resource
        for param in function.type.params
        for part in inner_types(param.type)
        if isinstance(part, Borrow)
    ]
    return (
        transport == "memory"
        and exchanged.taking is not None
        and exchanged.giving is not None
        and not any(kinds.custody(resource).elsewhere for resource in lent)
        and not function.type.is_async
        and not (tasks and function.waits)
    )


def answers_in_arena(function: Function) -> bool:
    """Say whether an answer may have data out of line, or more than the box has room for."""
    result = function.type.result
    return result is not None and (points(result) or size(result) + HEADER > RESULT_BYTES)


class Box:
    """What direct calls of one instance are served with.

    :ivar origin: where the memory of calls lies in the process; it never moves
    :ivar minus: the negative of that
    :ivar objects: the host's resources, by handle
    """

    __slots__ = (
        "driver", "future", "give", "instance", "minus", "objects", "origin", "own", "session", "stream",
    )  # fmt: skip

    def __init__(self, session: Session) -> None:
        self.session = session
        self.instance = session.instance
        self.origin = session.calls.base
        self.minus = -self.origin
        self.objects = session.table.entries
        self.driver = session.driver
        handles = session.handles
        self.own, self.give, self.stream, self.future = (
            handles.own, handles.give, handles.stream, handles.future,
        )  # fmt: skip

    def rouse(self) -> None:
        """Have the driver woken after the call, if there is something for it now."""
        if record := self.session.roused():
            U32[(self.origin + ROUSE) >> 2] = record


def direct(
    function: Function,
    call: Callable[..., Any],
    kinds: Kinds,
    begin: Callable[[Any], Box],
    *,
    context: bool,
    tasks: bool,
) -> BareFunction:
    """Generate what serves a function.

    :param call: the Python that serves it
    :param begin: makes the box of an instance
    :param context: whether `call` wants the calling instance first
    :param tasks: whether the adapter has a driver, which may have something to do because of the call
    """
    names = {**_NAMES, "call": call, **_reporting(function, kinds)}
    serving = _Direct(function, kinds, names, context=context)
    lines = serving.call("if s.driver.dozing: s.rouse()" if tasks else "")
    if not function.waits:
        return BareFunction(begin, lines, serving.namespace)
    finish, fail = serving.finishing()
    return BareFunction(begin, lines, serving.namespace, finish, fail)


def dropping(begin: Callable[[Any], Box], kept: Literal["bare", "bare_aside"]) -> BareFunction:
    """Return what is told of a resource whose handle is gone."""
    lines = [f"s.session.table.drop(U32[s.origin+{DROPPED}>>2])"]
    return BareFunction(begin, lines, {"U32": U32}, name="[resource-drop]", counted=False, kept=kept)


_NAMES: Final = {
    "m": RAW, "b": U8, "U8": U8, "U32": U32, "Err": Err, "Ok": Ok, "REFUSALS": REFUSALS, "ROOM": ROOM,
}  # fmt: skip


def _reporting(function: Function, kinds: Kinds) -> dict[str, Any]:
    """Return what serves the results that the generated code does not put in place itself."""
    result = function.type.result
    write = writer(result, kinds, flat=_is_flat(result), even=function.twin is not None)
    wrapped = Ok if isinstance(result, ResultType) else lambda value: value

    def answer(box: Box, to: int, value: Any) -> None:
        block = write(value, to, box.session.handles)
        if len(block) <= ROOM:
            start = box.origin + to
            U8[start : start + len(block)] = block
        else:
            box.session.kept_back = block
            U32[(box.origin + MORE) >> 2] = len(block)

    return {"answer": answer, "explain": lambda value: mismatch(result, wrapped(value))}


def _is_flat(result: ValueType | None) -> bool:
    return result is None or len(flatten(result)) <= 1


class _Direct:
    """Generates the code for one function."""

    def __init__(self, function: Function, kinds: Kinds, names: Mapping[str, Any], *, context: bool) -> None:
        self._type = function.type
        self._waits = function.waits
        self._kinds = kinds
        self._context = context
        self._in_arena = answers_in_arena(function)
        self._g = Source(borrowed="s.objects[{handle}]", handles="s")
        self._g.namespace.update(names)

    @property
    def namespace(self) -> dict[str, Any]:
        """The globals of the generated code."""
        return self._g.namespace

    def call(self, then: str) -> Sequence[str]:
        """Return the statements that serve a call; of one that may wait, up to its coroutine.

        :param then: what is done when it has been served
        """
        g, given = self._g, self._arguments()
        if self._waits:
            g.line(f"co=call({given})")
        elif isinstance(self._type.result, ResultType):
            with g.block("try:"):
                g.line(f"v=call({given})")
            with g.block("except Err as x:"):
                g.line(f"answer(s,{self._late},x)")
                g.line(then)
                g.line("return 0")
            self._result()
            g.line(then)
        else:
            g.line(f"v=call({given})")
            self._result()
            g.line(then)
        return g.lines

    def finishing(self) -> tuple[Callable[[Any, Any], None], Callable[[Any, Any], None] | None]:
        """Return what writes the result of a coroutine, and what writes the `Err` it raised."""
        g = self._g = self._g.another()
        with g.block("def finish(s,v):"):
            g.line(f"to={self._late}")
            self._result()
        with g.block("def refuse(s,x):"):
            g.line(f"answer(s,{self._late},x)")
        finish = g.function("finish")
        return finish, g.namespace["refuse"] if isinstance(self._type.result, ResultType) else None

    def _arguments(self) -> str:
        """Emit the reading of the box; return the argument list of the call."""
        g, params = self._g, [param.type for param in self._type.params]
        slots = argument_slots(g, params)
        if any(points(param) for param in params) or in_memory(params):
            g.line("base=s.minus")
        if self._in_arena and _ok(self._type.result) is not None:
            shift = SLOTS - TO
            behind = [(shift + offset, code, name) for offset, code, name in slots]
            g.unpack([(0, "I", "to"), *behind], "U8", f"s.origin+{TO}")
        else:
            g.unpack(slots, "U8", f"s.origin+{SLOTS}")
            if self._type.result is not None:
                g.line(f"to={RESULT}")
        names = arguments(g, params, slots, self._kinds)
        return ",".join([*(["s.instance"] if self._context else []), *names])

    # ------------------------------------------------------------ results

    @property
    def _late(self) -> str:
        """The expression for where the answer goes, in the rare case or place that has not read it."""
        return f"U32[s.origin+{TO}>>2]" if self._in_arena else str(RESULT)

    def _result(self) -> None:
        """Emit the writing of what was returned, `v`, to `to`."""
        g, result = self._g, self._type.result
        ok = _ok(result)
        with g.block("try:"):
            if ok is None:
                g.line("if v is not None: raise TypeError")
            elif _is_flat(result):
                self._flat_result(ok)
            elif not _is_simple(ok) or HEADER + size(result) > _INLINE:
                g.line(self._answer)
            else:
                self._simple_result(ok)
        g.line("except REFUSALS as x: raise explain(v) or x from None")

    @property
    def _answer(self) -> str:
        """The statement that has the result put in place as a block."""
        return f"answer(s,to,{'Ok(v)' if isinstance(self._type.result, ResultType) else 'v'})"

    def _flat_result(self, ok: ValueType) -> None:
        """Emit a result that is returned as one core value; no `result` with a payload is one."""
        g = self._g
        slots = [(0, SLOT[core], text) for core, text in lower(g, ok, "v", self._kinds)]
        g.pack(slots, "U8", f"s.origin+to+{HEADER}")

    def _simple_result(self, ok: ValueType) -> None:
        g, result = self._g, self._type.result
        at = g.assign(f"s.origin+to+{HEADER}")
        if isinstance(result, ResultType):
            at = g.assign(f"{at}+{payload_offset(cases(result) or ())}")
        behind = align_to(HEADER + size(result) if result else HEADER, 16)
        self._put(ok, "v", at, behind)

    def _put(self, type_: ValueType, value: str, at: str, behind: int) -> None:
        """Emit the writing of a value that has at most one piece of data out of line, `behind` the answer."""
        g = self._g
        match type_:
            case Option(element):
                with g.block(f"if {value} is None:"):
                    g.line(f"U8[{at}]=0")
                with g.block("else:"):
                    g.line(f"U8[{at}]=1")
                    inner = g.assign(f"{at}+{payload_offset((None, element))}")
                    self._put(element, value, inner, behind)
            case Primitive("string") | ListType():
                self._out_of_line(type_, value, at, behind)
            case _:
                store(g, type_, value, at, self._kinds)

    def _out_of_line(self, type_: ValueType, value: str, at: str, behind: int) -> None:
        g = self._g
        data = g.variable()
        if type_ == Primitive("string"):
            g.line(f"{data}={value}.encode()")
        else:
            g.line(f"{data}={value} if {value}.__class__ is bytes else octets({value})")
        size_ = g.assign(f"len({data})")
        with g.block(f"if {size_}>{_LARGE}:"):
            g.line(self._answer)
        with g.block("else:"):
            start = g.assign(f"s.origin+to+{behind}")
            g.line(f"U8[{start}:{start}+{size_}]={data}")
            g.pack([(0, "I", f"to+{behind}"), (4, "I", size_)], "U8", at)


def _ok(result: ValueType | None) -> ValueType | None:
    return result.ok if isinstance(result, ResultType) else result


def _is_simple(type_: ValueType) -> bool:
    """Say whether a value has at most one piece of data out of line, and `_put` knows where."""
    match type_:
        case Option(element):
            return not isinstance(element, Option) and _is_simple(element)
        case Primitive("string"):
            return True
        case ListType(element, None):
            return element == Primitive("u8")
    return not points(type_)
