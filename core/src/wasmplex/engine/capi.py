"""The functions of the wasmtime C API that the engine calls itself, with their own prototypes.

They are taken from the library that the `wasmtime` package has loaded. Every pointer and size is declared
so that addresses are plain Python integers (0 is NULL), and every function object is private to this module:
what `wasmtime` declares for its own use is neither relied on nor changed. (At least one declaration there is
wrong: ``epoch_deadline_async_yield_and_update`` returns nothing.)

The C structs behind the addresses, and the sizes pinned by ``tests/engine/test_contract.py``:

===========================================  =====  ====================================================
struct                                       bytes  64-bit words
===========================================  =====  ====================================================
wasmtime_component_val_t                        32  kind, then up to three words of payload
  .. scalar                                         value in the low bytes of word 1
  .. string, enum                                   1: length, 2: UTF-8 bytes
  .. list, tuple, fixed-length list                 1: count, 2: vals
  .. record                                         1: count, 2: entries
  .. flags                                          1: count, 2: names (length, bytes)
  .. map                                            1: count, 2: entries (two vals each)
  .. variant                                        1, 2: case name, 3: payload val or 0
  .. option                                         1: payload val or 0
  .. result                                         1: 1 for ok (one byte), 2: payload val or 0
  .. resource                                       1: wasmtime_component_resource_any_t
wasmtime_component_valrecord_entry_t            48  0, 1: name, 2..5: val
wasmtime_component_valmap_entry_t               64  0..3: key, 4..7: value
wasmtime_component_func_t                       32  opaque
wasmtime_component_instance_t                   16  opaque
wasmtime_async_continuation_t                   24  0: callback, 1: env, 2: finalizer
===========================================  =====  ====================================================

A function that may run guest code, and so may take long, releases the GIL; the others keep it, which
makes them cheaper and keeps every struct consistent as seen by other Python threads.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_bool, c_char_p, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Final

from wasmtime._ffi import dll

__all__ = [
    "ASYNC_CALLBACK",
    "DESTRUCTOR",
    "FLAG_CONTINUATION",
    "KINDS",
    "READY_CONTINUATION",
    "SYNC_PARAMETERS",
    "any_delete",
    "future_delete",
    "future_poll",
    "host_to_any",
    "increment_epoch",
    "set_epoch_deadline",
    "vallist_new",
    "vallist_new_uninit",
]

_holding_gil = ctypes.PyDLL(None, handle=dll._handle)  # noqa: SLF001  the same library, another calling mode
_Function = Callable[..., Any]

# A pointer or a size. As a parameter ctypes converts `c_void_p` in half the time that `c_size_t` takes, which
# is most of what a short call costs; as a result it would make None of 0.
P = c_void_p
_WORD: Final = c_size_t


def _bind(name: str, result: Any, *params: Any) -> _Function:
    return _declare(_holding_gil, name, result, params)


def _bind_blocking(name: str, result: Any, *params: Any) -> _Function:
    return _declare(dll, name, result, params)


def _declare(library: ctypes.CDLL, name: str, result: Any, params: tuple[Any, ...]) -> _Function:
    function = library[name]
    function.restype = _WORD if result is P else result
    function.argtypes = list(params)
    return function


# ---------------------------------------------------------------- values

val_clone: Final = _bind("wasmtime_component_val_clone", None, P, P)
val_delete: Final = _bind("wasmtime_component_val_delete", None, P)
vallist_new: Final = _bind("wasmtime_component_vallist_new", None, P, P, P)
vallist_new_uninit: Final = _bind("wasmtime_component_vallist_new_uninit", None, P, P)
byte_vec_new: Final = _bind("wasm_byte_vec_new", None, P, P, P)
byte_vec_delete: Final = _bind("wasm_byte_vec_delete", None, P)

# ---------------------------------------------------------------- resources

resource_type_new_host: Final = _bind("wasmtime_component_resource_type_new_host", P, c_uint32)
resource_type_delete: Final = _bind("wasmtime_component_resource_type_delete", None, P)
any_to_host: Final = _bind("wasmtime_component_resource_any_to_host", P, P, P, P)
any_clone: Final = _bind("wasmtime_component_resource_any_clone", P, P)
any_delete: Final = _bind("wasmtime_component_resource_any_delete", None, P)
host_new: Final = _bind("wasmtime_component_resource_host_new", P, c_bool, c_uint32, c_uint32)
host_rep: Final = _bind("wasmtime_component_resource_host_rep", c_uint32, P)
host_to_any: Final = _bind("wasmtime_component_resource_host_to_any", P, P, P, P)
host_delete: Final = _bind("wasmtime_component_resource_host_delete", None, P)

# ---------------------------------------------------------------- linker

linker_new: Final = _bind("wasmtime_component_linker_new", P, P)
linker_delete: Final = _bind("wasmtime_component_linker_delete", None, P)
linker_root: Final = _bind("wasmtime_component_linker_root", P, P)
linker_instance_delete: Final = _bind("wasmtime_component_linker_instance_delete", None, P)
add_instance: Final = _bind("wasmtime_component_linker_instance_add_instance", P, P, c_char_p, P, P)
unknown_imports_as_traps: Final = _bind("wasmtime_component_linker_define_unknown_imports_as_traps", P, P, P)
add_func: Final = _bind("wasmtime_component_linker_instance_add_func", P, P, c_char_p, P, P, P, P)
add_func_async: Final = _bind("wasmtime_component_linker_instance_add_func_async", P, P, c_char_p, P, P, P, P)
add_resource: Final = _bind(
    "wasmtime_component_linker_instance_add_resource", P, P, c_char_p, P, P, P, P, P
)  # fmt: skip
instantiate_async: Final = _bind("wasmtime_component_linker_instantiate_async", P, P, P, P, P, P)

# ---------------------------------------------------------------- stores, calls, futures

store_new: Final = _bind("wasmtime_store_new", P, P, P, P)
store_context: Final = _bind("wasmtime_store_context", P, P)
store_limiter: Final = _bind("wasmtime_store_limiter", None, P, c_int64, c_int64, c_int64, c_int64, c_int64)
store_delete: Final = _bind_blocking("wasmtime_store_delete", None, P)
set_epoch_deadline: Final = _bind("wasmtime_context_set_epoch_deadline", None, P, P)
epoch_yield: Final = _bind("wasmtime_context_epoch_deadline_async_yield_and_update", None, P, c_uint64)
increment_epoch: Final = _bind("wasmtime_engine_increment_epoch", None, P)
get_export_index: Final = _bind("wasmtime_component_get_export_index", P, P, P, c_char_p, P)
export_index_delete: Final = _bind("wasmtime_component_export_index_delete", None, P)
instance_get_func: Final = _bind("wasmtime_component_instance_get_func", c_bool, P, P, P, P)
func_call_async: Final = _bind("wasmtime_component_func_call_async", P, P, P, P, P, P, P, P)
future_poll: Final = _bind_blocking("wasmtime_call_future_poll", c_bool, P)
future_delete: Final = _bind_blocking("wasmtime_call_future_delete", None, P)

# ---------------------------------------------------------------- errors

error_new: Final = _bind("wasmtime_error_new", P, c_char_p)
error_message: Final = _bind("wasmtime_error_message", None, P, P)
error_delete: Final = _bind("wasmtime_error_delete", None, P)

# ---------------------------------------------------------------- core functions that take no time

func_call: Final = _bind("wasmtime_func_call", P, P, P, P, P, P, P, P)
trap_delete: Final = _bind("wasm_trap_delete", None, P)

# ---------------------------------------------------------------- callbacks

SYNC_PARAMETERS: Final = ("data", "ctx", "ty", "args", "nargs", "res", "nres")
"""What wasmtime passes to a synchronous host function."""
_SYNC_CALLBACKS: Final = {
    count: CFUNCTYPE(_WORD, *[_WORD] * count) for count in range(1, len(SYNC_PARAMETERS) + 1)
}


def sync_callback(body: Callable[..., int]) -> Any:
    """Return a callback for a host function that takes the first of `SYNC_PARAMETERS`, as many as it names.

    Each parameter costs 25 ns to convert, a tenth of the cheapest call. Trailing ones may be left unread: in
    the calling conventions of all platforms that wasmtime runs on, the caller passes arguments in an order
    that does not depend on their number, and cleans up after them.
    """
    return _SYNC_CALLBACKS[body.__code__.co_argcount](body)


ASYNC_CALLBACK: Final = CFUNCTYPE(None, *[_WORD] * 9)
"""(data, context, type, args, nargs, results, nresults, &error, &continuation)"""
DESTRUCTOR: Final = CFUNCTYPE(_WORD, _WORD, _WORD, c_uint32)
"""(data, context, rep) -> error"""

KINDS: Final = {
    "bool": 0, "s8": 1, "u8": 2, "s16": 3, "u16": 4, "s32": 5, "u32": 6, "s64": 7, "u64": 8, "f32": 9,
    "f64": 10, "char": 11, "string": 12, "list": 13, "record": 14, "tuple": 15, "variant": 16, "enum": 17,
    "option": 18, "result": 19, "flags": 20, "resource": 21, "map": 22, "fixed-length-list": 23,
}  # fmt: skip
"""Discriminants of ``wasmtime_component_val_t``."""


def address(function: Any) -> int:
    """Return the machine address of a ctypes function or callback."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


# A continuation is a C function `bool (*)(void *env)` that wasmtime asks whether a suspended host function
# is ready. No Python may run there (it would be entered on every poll, and a signal handler could raise in
# it), so two functions of the C library serve: labs(1) is "yes", and strlen(&flag) is "no" until the flag
# byte is set. Both return in the register that a bool is read from.
_libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
READY_CONTINUATION: Final = address(_libc.labs)
"""Set env to 1."""
FLAG_CONTINUATION: Final = address(_libc.strlen)
"""Set env to the address of two bytes: a flag that becomes 1, and a zero."""
