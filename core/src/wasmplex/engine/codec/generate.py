"""Generates, once per component, the Python functions that stand between WIT functions and wasmtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wasmplex.engine.bare import BareFunction
from wasmplex.engine.capi import FLAG_CONTINUATION, KINDS, READY_CONTINUATION, SYNC_PARAMETERS
from wasmplex.engine.codec.layout import VAL, fixed_words
from wasmplex.engine.codec.reader import emit_read, emit_side
from wasmplex.engine.codec.results import emit_err, emit_result
from wasmplex.engine.codec.runtime import NAMESPACE
from wasmplex.engine.codec.source import Source, index
from wasmplex.engine.codec.writer import Place, emit_write
from wasmplex.engine.entry import uninterrupted_entry
from wasmplex.wit.types import FuncType, ResultType, ValueType

__all__ = ["Codec", "ExportCodec"]


@dataclass(frozen=True, slots=True)
class ExportCodec:
    """How one exported function is called.

    :ivar lower: ``(ar, ctx, state, *args)`` writes the arguments to the first words of the arena
    :ivar lift: ``(index, ctx, state)`` reads the result at an index of ``U64``, or raises `Err`
    :ivar count: the number of arguments
    :ivar result: the index in the arena of the result's val
    :ivar error: the index in the arena of the error slot
    :ivar words: how many words the arena must have
    """

    lower: Callable[..., None]
    lift: Callable[..., Any] | None
    count: int
    result: int
    error: int
    words: int


class Codec:
    """The generated functions of one component. Types shared by its functions are generated once.

    :param states: finds the state of a store by the address of its context
    :param fail: ``(ctx, function, error)`` keeps a Python exception for the driver, returns a wasmtime error
    """

    def __init__(self, states: Mapping[int, Any], fail: Callable[[int, str, BaseException], int]) -> None:
        self._readers: dict[tuple[ValueType, bool], Callable[..., Any]] = {}
        self._namespace = {
            **NAMESPACE, "STATES": states, "fail": fail, "readers": self._reader, "writers": self._writer,
        }  # fmt: skip

    # ------------------------------------------------------------ types on their own

    def _reader(self, type: ValueType) -> Callable[..., Any]:
        key = (type, False)
        if key not in self._readers:
            source = Source(self._namespace)
            with source.block("def read(b,ctx,state):"):
                source.line(f"return {emit_read(source, type, 'b', top=True)}")
            self._readers[key] = source.build("read")
        return self._readers[key]

    def _writer(self, type: ValueType) -> Callable[..., Any]:
        key = (type, True)
        if key not in self._readers:
            source = Source(self._namespace)
            with source.block("def write(b,f,v,ar,ctx,state):"):
                emit_write(source, type, Place("b", 0, "f", 0), "v", top=True)
            self._readers[key] = source.build("write")
        return self._readers[key]

    # ------------------------------------------------------------ imports

    def sync_import(
        self, name: str, type: FuncType, call: Callable[..., Any], context: bool, pace: Any = None
    ) -> Any:
        """Return the body of a `capi.sync_callback` that serves an import with a ``def``.

        :param name: the import's full name, for error messages
        :param context: whether `call` takes the instance as first argument
        :param pace: counts the calls; None if nobody asks how many there are
        """
        source = self._import_source(name, type, call)
        needed = 6 if type.result is not None else 4 if type.params else 2
        parameters = ",".join(SYNC_PARAMETERS[:needed])
        with source.block(f"def callback({parameters}):"), _kept(source, "return {}"):
            with source.block("try:"):
                _emit_counting(source, pace)
                arguments = _emit_arguments(source, type, context)
                source.line(f"r=call({arguments})")
                _emit_checked_result(source, type.result, "r")
                source.line("return 0")
            _emit_err_clause(source, type, "return 0")
            source.line("except BaseException as e: return fail(ctx,NAME,e)")
        return uninterrupted_entry(source.build("callback"))

    def async_import(
        self, name: str, type: FuncType, call: Callable[..., Any], context: bool, pace: Any = None
    ) -> Any:
        """Return the body of a `capi.ASYNC_CALLBACK` that serves an import with an ``async def``.

        The coroutine is started at once. If it ends without waiting, so does the callback; else coroutine and
        slot are left in ``state.waiting`` for the driver, and wasmtime is told to ask for the flag.
        """
        source = self._import_source(name, type, call)
        _emit_finish(source, type)
        with source.block("def callback(data,ctx,ty,args,nargs,res,nres,err,cont):"):
            source.line(f"c=cont>>3;U64[c]={READY_CONTINUATION};U64[c+1]=1")
            with _kept(source, "U64[err>>3]={}; return"):
                with source.block("try:"):
                    _emit_counting(source, pace)
                    arguments = _emit_arguments(source, type, context, always_state=True)
                    source.line(f"co=call({arguments})")
                    _emit_first_step(source, type)
                _emit_err_clause(source, type, "return")
                source.line("except BaseException as e: U64[err>>3]=fail(ctx,NAME,e); return")
        return uninterrupted_entry(source.build("callback"))

    def bare_import(self, name: str, function: BareFunction, pace: Any = None) -> Any:
        """Return the body of a callback that serves an import of the type ``func()``.

        :return: for `capi.sync_callback`, or for `capi.ASYNC_CALLBACK` if the function may wait
        """
        ours = {key: self._namespace[key] for key in ("Err", "STATES", "U8", "U64", "Unfit", "fail")}
        source = Source({**function.namespace, **ours, "begin": function.begin, "NAME": name})
        with source.block("def begun(state):"):
            source.line(f"state.{function.kept}=begin(state.instance)")
            source.line(f"return state.{function.kept}")
        if function.finish is not None:
            return _bare_async(source, function, pace)
        with source.block("def callback(data,ctx):"), _kept(source, "return {}"):
            with source.block("try:"):
                _emit_counting(source, pace)
                source.line(f"s=STATES[ctx].{function.kept} or begun(STATES[ctx])")
                source.lines(function.lines)
                source.line("return 0")
            source.line("except BaseException as e: return fail(ctx,NAME,e)")
        return uninterrupted_entry(source.build("callback"))

    def fill_import(self, name: str) -> Any:
        """Return the body of a `capi.sync_callback` that serves ``func(token: u32, to: u32) -> u32``."""
        source = Source(self._namespace)
        source.namespace["NAME"] = name
        with source.block("def callback(data,ctx,ty,args,nargs,res):"), _kept(source, "return {}"):
            with source.block("try:"):
                source.line("state=STATES[ctx];a=args>>3;o=res>>3")
                at, to = (f"U32[{index('a', VAL * i + 1, 2)}]" for i in range(2))
                source.line(f"U32[{index('o', 1, 2)}]=places(state).fill({at},{to})")
                source.line(f"U64[o]={KINDS['u32']}")
                source.line("return 0")
            source.line("except BaseException as e: return fail(ctx,NAME,e)")
        return uninterrupted_entry(source.build("callback"))

    def _import_source(self, name: str, type: FuncType, call: Callable[..., Any]) -> Source:
        source = Source(self._namespace)
        source.namespace.update(call=call, NAME=name, TYPE=type.result)
        return source

    # ------------------------------------------------------------ exports

    def export(self, name: str, type: FuncType) -> ExportCodec:
        """Return how an exported function is called.

        :param name: its full name, for error messages
        """
        count = len(type.params)
        result = VAL * count
        used = result + 2 * VAL
        source = Source(self._namespace)
        source.namespace["NAME"] = name
        names = [f"p{i}" for i in range(count)]
        with source.block(f"def lower({','.join(['ar', 'ctx', 'state', *names])}):"):
            source.line("a=ar.base")
            source.line(f"U64[a+{result}]=0;U64[a+{result + VAL}]=0")
            for i, (param, value) in enumerate(zip(type.params, names, strict=True)):
                kind, path = source.constant(param.type), repr(param.name)
                with source.block("try:"):
                    emit_write(source, param.type, Place("a", VAL * i, "a", used), value, top=True)
                source.line(f"except Exception as e: raise refusal({kind},{value},{path},NAME,e) from None")
                used += fixed_words(param.type)
        if type.result is not None:
            _emit_lift(source, type.result)
        lower = source.build("lower")
        return ExportCodec(lower, source.namespace.get("lift"), count, result, result + VAL, used)


def _emit_counting(source: Source, pace: Any) -> None:
    """Emit the counting of a call, and the refusal of one too many."""
    if pace is not None:
        source.namespace["pace"] = pace
        source.line("n=pace.few")
        source.line("pace.few=n-1 if n else pace.more()")


def _emit_arguments(source: Source, type: FuncType, context: bool, *, always_state: bool = False) -> str:
    """Emit the reading of all arguments; return the argument list of the host function's call."""
    slot = source.slot()
    arguments = [
        source.let(emit_read(source, p.type, "a", VAL * i, top=True)) for i, p in enumerate(type.params)
    ]
    if context:
        arguments.insert(0, "state.instance")
    text = ",".join(arguments)
    heads = ["a=args>>3"] if type.params else []
    if always_state or context or source.mentions("state", slot) or _result_uses_state(type):
        heads.append("state=STATES[ctx]")
    source.fill(slot, ";".join(heads))
    return text


def _result_uses_state(type: FuncType) -> bool:
    probe = Source({"writers": lambda _: None})
    if type.result is not None:
        emit_result(probe, type.result, "r")
        if isinstance(type.result, ResultType):
            emit_err(probe, type.result, "r")
    return "state" in probe.text


def _emit_checked_result(source: Source, type: ValueType | None, value: str) -> None:
    path = "result.ok" if isinstance(type, ResultType) else "result"
    with source.block("try:"):
        emit_result(source, type, value)
    ok = source.constant(type.ok if isinstance(type, ResultType) else type)
    source.line(f"except Exception as e: raise refusal({ok},{value},{path!r},NAME,e) from None")


@contextmanager
def _kept(source: Source, leave: str) -> Iterator[None]:
    """Wrap a callback's body, which handles what it raises, in a net for what its handlers raise.

    Every path through the body must end in a ``return`` of its own: without one the compiler may join paths
    by a backward jump that lies outside of the net, and a jump backward looks for signals.

    :param leave: the statement that tells wasmtime of an error
    """
    with source.block("try:"):
        yield
    source.line(f"except BaseException as e: {leave.format('fail(ctx,NAME,e)')}")


def _emit_first_step(source: Source, type: FuncType) -> None:
    """Emit the start of the coroutine ``co``: it ends at once, or is left to the driver."""
    with source.block("try:"):
        source.line("y=co.send(None)")
    with source.block("except StopIteration as stop:"):
        source.line("r=stop.value")
        _emit_checked_result(source, type.result, "r")
        source.line("return")
    _emit_suspension(source)


def _emit_suspension(source: Source) -> None:
    """Emit the leaving of the coroutine ``co``, which has yielded ``y``, to the driver."""
    with source.block("else:"):
        source.line(
            "if state.waiting is not None: raise Unfit('another host function has suspended the guest')"
        )
        source.line("state.waiting=(co,y,finish,finish_err,res,NAME)")
        source.line(f"U8[state.flag]=0;U64[c]={FLAG_CONTINUATION};U64[c+1]=state.flag")
        source.line("return")


def _emit_err_clause(source: Source, type: FuncType, leave: str) -> None:
    """Emit what makes a raised `Err` the err case, where the function's type has one."""
    if isinstance(type.result, ResultType):
        with source.block("except Err as e:"):
            _emit_checked_err(source, type.result, "e.value")
            source.line(leave)


def _emit_checked_err(source: Source, type: ResultType, value: str) -> None:
    err = source.constant(type.err)
    source.line(f"r={value}")
    with source.block("try:"):
        emit_err(source, type, "r")
    source.line(f"except Exception as e: raise refusal({err},r,'result.err',NAME,e) from None")


def _emit_finish(source: Source, type: FuncType) -> None:
    """Emit the functions by which the driver delivers what a suspended host function came to."""
    with source.block("def finish(ctx,state,res,r):"):
        _emit_checked_result(source, type.result, "r")
    if not isinstance(type.result, ResultType):
        source.line("finish_err=None")
        return
    with source.block("def finish_err(ctx,state,res,r):"):
        _emit_checked_err(source, type.result, "r")


def _bare_async(source: Source, function: BareFunction, pace: Any) -> Any:
    """Return the body for a bare function that may wait; see `Codec.async_import`."""
    source.namespace.update(deliver=function.finish, deliver_err=function.fail)
    source.line(f"def finish(ctx,state,res,r): deliver(state.{function.kept},r)")
    has_err = function.fail is not None
    source.line(
        f"def finish_err(ctx,state,res,r): deliver_err(state.{function.kept},Err(r))"
        if has_err
        else "finish_err=None"
    )
    with source.block("def callback(data,ctx,ty,args,nargs,res,nres,err,cont):"):
        source.line(f"c=cont>>3;U64[c]={READY_CONTINUATION};U64[c+1]=1")
        with _kept(source, "U64[err>>3]={}; return"):
            with source.block("try:"):
                _emit_counting(source, pace)
                source.line(f"state=STATES[ctx];s=state.{function.kept} or begun(state)")
                source.lines(function.lines)
                with source.block("try:"):
                    source.line("y=co.send(None)")
                source.line("except StopIteration as stop: deliver(s,stop.value);return")
                _emit_suspension(source)
            if has_err:
                source.line("except Err as e: deliver_err(s,e);return")
            source.line("except BaseException as e: U64[err>>3]=fail(ctx,NAME,e); return")
    return uninterrupted_entry(source.build("callback"))


def _emit_lift(source: Source, type: ValueType) -> None:
    with source.block("def lift(o,ctx,state):"):
        if not isinstance(type, ResultType):
            source.line(f"return {emit_read(source, type, 'o', top=True)}")
            return
        with source.block("if U8[o*8+8]:"):
            source.line(f"return {emit_side(source, type.ok, 'o', 0)}")
        source.line(f"raise Err({emit_side(source, type.err, 'o', 0)})")
