"""What the engine assumes of wasmtime's C structs and functions: a change there must fail here, loudly."""

from __future__ import annotations

import ctypes
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from wasmplex.engine import capi
from wasmplex.engine.memory import RAW, U64, bytes_address
from wasmplex.engine.settings import check_python
from wasmplex.errors import UsageError
from wasmtime import _bindings as bindings

STRUCTS = {
    "wasmtime_component_val": (32, {"kind": 0, "of": 8}),
    "wasmtime_component_valunion": (24, {}),
    "wasmtime_component_vallist": (16, {"size": 0, "data": 8}),
    "wasmtime_component_valrecord": (16, {"size": 0, "data": 8}),
    "wasmtime_component_valrecord_entry": (48, {"name": 0, "val": 16}),
    "wasmtime_component_valtuple": (16, {"size": 0, "data": 8}),
    "wasmtime_component_valflags": (16, {"size": 0, "data": 8}),
    "wasmtime_component_valmap": (16, {"size": 0, "data": 8}),
    "wasmtime_component_valmap_entry": (64, {"key": 0, "value": 32}),
    "wasmtime_component_valvariant": (24, {"discriminant": 0, "val": 16}),
    "wasmtime_component_valresult": (16, {"is_ok": 0, "val": 8}),
    "wasm_byte_vec_t": (16, {"size": 0, "data": 8}),
    "wasmtime_component_func": (32, {}),
    "wasmtime_component_instance": (16, {}),
    "wasmtime_async_continuation_t": (24, {"callback": 0, "env": 8, "finalizer": 16}),
    "wasmtime_linear_memory": (32, {"env": 0, "get_memory": 8, "grow_memory": 16, "finalizer": 24}),
    "wasmtime_memory_creator": (24, {"env": 0, "new_memory": 8, "finalizer": 16}),
}

# result and parameters as the package declares them: p pointer or size, v void, b bool, u32, i64, u64
SIGNATURES = {
    "wasmtime_component_val_clone": "v(p p)",
    "wasmtime_component_val_delete": "v(p)",
    "wasmtime_component_vallist_new": "v(p p p)",
    "wasmtime_component_vallist_new_uninit": "v(p p)",
    "wasm_byte_vec_new": "v(p p p)",
    "wasm_byte_vec_delete": "v(p)",
    "wasmtime_component_resource_type_new_host": "p(u32)",
    "wasmtime_component_resource_type_delete": "v(p)",
    "wasmtime_component_resource_any_to_host": "p(p p p)",
    "wasmtime_component_resource_any_clone": "p(p)",
    "wasmtime_component_resource_any_delete": "v(p)",
    "wasmtime_component_resource_host_new": "p(b u32 u32)",
    "wasmtime_component_resource_host_rep": "u32(p)",
    "wasmtime_component_resource_host_to_any": "p(p p p)",
    "wasmtime_component_resource_host_delete": "v(p)",
    "wasmtime_component_linker_new": "p(p)",
    "wasmtime_component_linker_delete": "v(p)",
    "wasmtime_component_linker_root": "p(p)",
    "wasmtime_component_linker_instance_delete": "v(p)",
    "wasmtime_component_linker_instance_add_instance": "p(p p p p)",
    "wasmtime_component_linker_instance_add_func": "p(p p p p p p)",
    "wasmtime_component_linker_define_unknown_imports_as_traps": "p(p p)",
    "wasmtime_component_linker_instance_add_func_async": "p(p p p p p p)",
    "wasmtime_component_linker_instance_add_resource": "p(p p p p p p p)",
    "wasmtime_component_linker_instantiate_async": "p(p p p p p)",
    "wasmtime_store_new": "p(p p p)",
    "wasmtime_store_context": "p(p)",
    "wasmtime_store_limiter": "v(p i64 i64 i64 i64 i64)",
    "wasmtime_store_delete": "v(p)",
    "wasmtime_context_set_epoch_deadline": "v(p u64)",
    "wasmtime_engine_increment_epoch": "v(p)",
    "wasmtime_component_get_export_index": "p(p p p p)",
    "wasmtime_component_export_index_delete": "v(p)",
    "wasmtime_component_instance_get_func": "b(p p p p)",
    "wasmtime_component_func_call_async": "p(p p p p p p p)",
    "wasmtime_call_future_poll": "b(p)",
    "wasmtime_call_future_delete": "v(p)",
    "wasmtime_error_new": "p(p)",
    "wasmtime_error_message": "v(p p)",
    "wasmtime_error_delete": "v(p)",
    "wasmtime_func_call": "p(p p p p p p p)",
    "wasm_trap_delete": "v(p)",
    "wasmtime_config_host_memory_creator_set": "v(p p)",
}
# Declared by the package with a result that the library does not give.
MISDECLARED = {"wasmtime_context_epoch_deadline_async_yield_and_update": "v(p u64)"}

_SHORT = {
    None: "v",
    ctypes.c_bool: "b",
    ctypes.c_uint32: "u32",
    ctypes.c_int64: "i64",
    ctypes.c_uint64: "u64",
}


def shorten(kind: object) -> str:
    if kind is ctypes.c_uint64 or kind is ctypes.c_size_t:  # one class on this platform
        return "u64"
    return _SHORT.get(kind, "p")  # type: ignore[call-overload, no-any-return]


def signature(function: object) -> str:
    parameters = " ".join(shorten(kind) for kind in function.argtypes)  # type: ignore[attr-defined]
    return f"{shorten(function.restype)}({parameters})"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", STRUCTS)
def test_struct(name: str) -> None:
    size, offsets = STRUCTS[name]
    struct = getattr(bindings, name)
    assert ctypes.sizeof(struct) == size
    assert {field: getattr(struct, field).offset for field in offsets} == offsets


def same_size(text: str) -> str:
    """Sizes and 64-bit integers are one class to ctypes here."""
    return re.sub(r"\bu64\b", "p", text)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    declared = getattr(bindings, f"_{name}")
    assert same_size(signature(declared)) == same_size(SIGNATURES[name])


def test_every_function_that_is_called_is_in_the_contract() -> None:
    text = (Path(capi.__file__).read_text()) + (Path(capi.__file__).with_name("host_memory.py").read_text())
    used = set(re.findall(r'"(wasm(?:time)?_[a-z_0-9]+)"', text))
    known = SIGNATURES.keys() | MISDECLARED.keys()
    assert used <= known


def test_our_prototypes_say_the_same() -> None:
    for name, expected in {**SIGNATURES, **MISDECLARED}.items():
        for function in vars(capi).values():
            if getattr(function, "__name__", "") == name and hasattr(function, "argtypes"):
                assert same_size(signature(function)) == same_size(expected), name


def test_kinds() -> None:
    from wasmtime import _ffi

    prefix = "WASMTIME_COMPONENT_"
    for name in ("bool", "s8", "u64", "f32", "char", "string", "list", "record", "tuple", "variant", "enum",
                 "option", "result", "flags", "resource"):  # fmt: skip
        assert capi.KINDS[name] == getattr(_ffi, f"{prefix}{name.upper()}").value


def test_continuations_answer_as_needed() -> None:
    continuation = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_size_t)
    assert continuation(capi.READY_CONTINUATION)(1) is True
    flag = (ctypes.c_ubyte * 2)()
    asks = continuation(capi.FLAG_CONTINUATION)
    assert asks(ctypes.addressof(flag)) is False
    flag[0] = 1
    assert asks(ctypes.addressof(flag)) is True


def test_payload_of_bytes_objects() -> None:
    for data in (b"", b"x", b"some text" * 100):
        assert RAW[bytes_address(data) : bytes_address(data) + len(data)] == data


def test_views_see_memory() -> None:
    block = (ctypes.c_uint64 * 2)(1, 2**63)
    at = ctypes.addressof(block) >> 3
    assert (U64[at], U64[at + 1]) == (1, 2**63)
    with pytest.raises(ValueError):
        U64[at] = 2**64
    with pytest.raises(TypeError):
        U64[at] = "1"  # type: ignore[call-overload]


def test_wasmtime_is_of_the_version_that_this_was_written_for() -> None:
    assert version("wasmtime").startswith("50.0.")


@pytest.mark.parametrize(
    ("python", "implementation", "refused"),
    [
        ((3, 11, 0), "cpython", False),
        ((3, 13, 9), "cpython", False),
        ((3, 14, 0), "cpython", True),
        ((3, 14, 1), "cpython", False),
        ((3, 11, 0), "pypy", True),
    ],
)
def test_python_versions(python: tuple[int, int, int], implementation: str, refused: bool) -> None:
    if not refused:
        check_python(python, implementation)
        return
    with pytest.raises(UsageError) as caught:
        check_python(python, implementation)
    assert ".".join(map(str, python)) in str(caught.value)
    assert "because" in str(caught.value)
