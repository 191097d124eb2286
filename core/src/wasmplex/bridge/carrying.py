"""The core functions by which an import adapter is called, and how they are lifted: text, one function each.

They pass on what they are given as a block, and return what the host answers, at once or in a task.
"""

from __future__ import annotations

from collections.abc import Sequence

from wasmplex.bridge.direct import answers_in_arena
from wasmplex.bridge.kinds import Function, KindTable, lifts
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten
from wasmplex.bridge.parts import GUEST_OPTIONS, TWIN_ENCODING
from wasmplex.bridge.places import Exchanged
from wasmplex.bridge.protocol import HEADER, MORE, RESULT, SLOTS, TO
from wasmplex.bridge.wat import Scope
from wasmplex.wit.types import ResultType, TupleType

__all__ = ["call", "direct_call", "lifted", "return_cores", "task_return"]


def _params(cores: Sequence[Core]) -> str:
    return f"(param {' '.join(cores)})" if cores else ""


def _param_cores(function: Function) -> tuple[Core, ...]:
    cores = flatten(TupleType(tuple(p.type for p in function.type.params))) if function.type.params else ()
    return cores if len(cores) <= MAX_FLAT_PARAMS else ("i32",)


def return_cores(function: Function) -> tuple[Core, ...]:
    """Flat parameters of ``task.return``."""
    cores = flatten(function.type.result) if function.type.result else ()
    return cores if len(cores) <= MAX_FLAT_PARAMS else ("i32",)


def lifted(function: Function, scope: Scope) -> str:
    """Return the definition of the function that the adapter exports."""
    n, type_ = function.number, function.carried
    how = GUEST_OPTIONS if function.twin is None else f"{GUEST_OPTIONS} {TWIN_ENCODING}"
    if type_.is_async:
        how = f'async (callback (core func $machine "callback")) {how}'
    elif type_.result is not None and len(flatten(type_.result)) > 1:
        how += ' (post-return (core func $machine "post"))'
    return f'(func $f{n} {scope.func(type_)} (canon lift (core func $machine "f{n}") {how}))'


def task_return(function: Function, scope: Scope) -> str:
    """Return the definition of the built-in by which an async function returns."""
    result = function.carried.result
    text = "" if result is None else f" (result {scope.ref(result)})"
    encoding = "" if function.twin is None else f" {TWIN_ENCODING}"
    return f"(core func $ret{function.number} (canon task.return{text} (memory $mem){encoding}))"


def call(function: Function, kinds: KindTable, exchanged: Exchanged) -> str:
    """Return the core functions of one whose arguments go to the host as a block."""
    cores = _param_cores(function)
    slots = "\n".join(
        f"({core}.store offset={8 * i} (local.get $slots) (local.get {i}))" for i, core in enumerate(cores)
    )
    make = (
        "(local.set $slots (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)"
        f" (i32.const {8 * len(cores)})))"
        if cores
        else ""
    )
    head = f"{make}\n{slots}\n{exchanged.taking or ''}"
    block = "(i32.const @ARENA@) (i32.sub (global.get $top) (i32.const @ARENA@))"
    if function.type.is_async:
        return _core_async(function, cores, head, block, exchanged.giving or "")
    takes = exchanged.taking is None and lifts([p.type for p in function.type.params], kinds.custody)
    return _core_sync(function, cores, head, block, exchanged.giving or "", takes=takes)


def direct_call(function: Function, exchanged: Exchanged, *, tasks: bool) -> str:
    """Return the core function of one whose calls are direct, see `wasmplex.bridge.direct`."""
    cores, n = _param_cores(function), function.number
    stores = "\n".join(
        f"({core}.store offset={SLOTS + 8 * i} (i32.const 0) (local.get {i}))" for i, core in enumerate(cores)
    )
    call, at = f"(call $direct{n})", f"(i32.const {RESULT + HEADER})"
    prepare, ready = "", f"(i32.const {RESULT})"
    if answers_in_arena(function):
        prepare = f"(i32.store offset={TO} (i32.const 0) (local.tee $to (call $room)))"
        call = f"""{call}
(if (i32.load offset={MORE} (i32.const 0)) (then (call $more (local.get $to))))"""
        at = f"(i32.add (local.get $to) (i32.const {HEADER}))"
        ready = "(local.get $to)"
    if isinstance(function.type.result, ResultType):  # ok until the host says otherwise
        call = f"(i32.store offset={HEADER} {ready} (i32.const 0))\n{call}"
    if tasks:
        call = f"""{call}
(if (i32.load offset=@ROUSE@ (i32.const 0)) (then
  (call $rouse (i32.load offset=@ROUSE@ (i32.const 0)))
  (i32.store offset=@ROUSE@ (i32.const 0) (i32.const 0))))"""
    if exchanged.giving:
        call = f"{call}\n(local.set $at {ready})\n{exchanged.giving}"
    result, tail = _returning(function, at, f"load {at}")
    return f"""(func (export "f{n}") {_params(cores)} {result}
(local $to i32) (local $at i32) (local $slots i32)
{stores}
(local.set $slots (i32.const {SLOTS}))
{exchanged.taking}
{prepare}
{call}
{tail})"""


def _returning(function: Function, at: str, load: str) -> tuple[str, str]:
    """Return the result type of a core function, and how it ends: what it returns, or where that lies.

    :param load: the instruction for a result that is one flat value, without its type
    """
    flat = flatten(function.type.result) if function.type.result else ()
    if len(flat) > 1:
        return "(result i32)", at
    reset = "(global.set $top (i32.const @ARENA@))"
    return (f"(result {flat[0]})", f"({flat[0]}.{load}) {reset}") if flat else ("", reset)


def _core_sync(
    function: Function, cores: Sequence[Core], head: str, block: str, giving: str, *, takes: bool
) -> str:
    number = f"(i32.const {function.number})"
    call = f"(local.set $at (call $finish (call $call {number} {block})))"
    if function.waits and takes:
        call += f"(local.set $at (call $finish (call $call_wait {number} (i32.const 0) (i32.const 0))))"
    elif function.waits:
        call = call.replace("$call ", "$call_wait ")
    at, load = "(i32.add (local.get $at) (i32.const @HEADER@))", "load offset=@HEADER@ (local.get $at)"
    result, tail = _returning(function, at, load)
    return f"""(func (export "f{function.number}") {_params(cores)} {result}
(local $slots i32) (local $at i32)
{head}
{call}
{giving}
{tail})"""


def _core_async(function: Function, cores: Sequence[Core], head: str, block: str, giving: str) -> str:
    n = function.number
    flat = return_cores(function)
    if function.type.result is not None and len(flatten(function.type.result)) > MAX_FLAT_PARAMS:
        loads = "(i32.add (local.get 0) (i32.const @HEADER@))"
    else:
        loads = " ".join(
            f"({core}.load offset={HEADER + 8 * i} (local.get 0))" for i, core in enumerate(flat)
        )
    return f"""(func $return{n} (param $at i32) {giving} (call $ret{n} {loads}))
(func (export "f{n}") {_params(cores)} (result i32) (local $slots i32) (local $at i32) (local $task i32)
(local.set $task (call $record))
(call $set_context (local.get $task))
{head}
(local.set $at (call $finish (call $submit (i32.const {n}) (local.get $task) {block})))
(if (i32.load (local.get $at)) (then
  (call $return{n} (local.get $at))
  (global.set $top (i32.const @ARENA@))
  (call $release (local.get $task))
  (return (i32.const 0))))
(global.set $top (i32.const @ARENA@))
(call $run (local.get $task) (i32.const @EVENT_START@) (i32.const 0) (i32.const 0)))"""
