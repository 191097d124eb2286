"""Hostile guests that no compiler would make, as text: what each takes when it is made, or asked."""

from __future__ import annotations

import wasmtime

__all__ = ["TEXTS", "assembled"]

_HANDLER = """(component
  (import "wasi:http/types@0.2.12" (instance $http
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $http "incoming-request" (type $request))
  (alias export $http "response-outparam" (type $outparam))
  {body}
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
    (canon lift (core func $main "handle")))
  (component $Handler
    (import "request" (type $request (sub resource)))
    (import "outparam" (type $outparam (sub resource)))
    (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))))
    (export "handle" (func $handle)))
  (instance $handler (instantiate $Handler
    (with "request" (type $request)) (with "outparam" (type $outparam)) (with "handle" (func $handle))))
  (export "wasi:http/incoming-handler@0.2.12" (instance $handler)))"""


def _many(count: int, module: str) -> str:
    """Return so many instances of a module, and a main one that has all of them take what they can."""
    numbers = range(count)
    made = "\n".join(f"(core instance $i{n} (instantiate $m))" for n in numbers)
    imports = "\n".join(f'(import "{n}" "take" (func $take{n}))' for n in numbers)
    given = " ".join(f'(with "{n}" (instance $i{n}))' for n in numbers)
    calls = " ".join(f"(call $take{n})" for n in numbers)
    return f"""(core module $m {module})
  {made}
  (core module $main {imports} (func (export "handle") (param i32 i32) {calls}))
  (core instance $main (instantiate $main {given}))"""


_TOUCHING = """(memory 1) (func (export "take") (local $at i32)
    (loop $more
      (local.set $at (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))
      (if (i32.ne (local.get $at) (i32.const -65536)) (then
        (loop $touch
          (i32.store8 (local.get $at) (i32.const 1))
          (local.set $at (i32.add (local.get $at) (i32.const 4096)))
          (br_if $touch (i32.and (local.get $at) (i32.const 65535))))
        (br $more)))))"""
_TABLES = """(table $t 0 funcref) (elem declare func $f) (func $f)
  (func (export "take")
    (loop $more
      (br_if $more (i32.ne (table.grow $t (ref.func $f) (i32.const 10000)) (i32.const -1)))))"""
_HEAP = """(type $block (array (mut i8)))
  (table $kept 0 (ref null $block))
  (func (export "take")
    (loop $more
      (br_if $more (i32.ne (i32.const -1)
        (table.grow $kept (array.new $block (i32.const 7) (i32.const 65536)) (i32.const 1))))))"""
TEXTS = {"memories": _many(60, _TOUCHING), "tables": _many(300, _TABLES), "heap": _many(1, _HEAP)}
"""The bodies, by name: each takes what it can get, writes to all of it, and gives no answer."""


def assembled(name: str) -> bytes:
    """Return a component."""
    return bytes(wasmtime.wat2wasm(_HANDLER.replace("{body}", TEXTS[name])))
