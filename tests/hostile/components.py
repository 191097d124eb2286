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
TEXTS: dict[str, str] = {}


def assembled(name: str) -> bytes:
    """Return a component."""
    return bytes(wasmtime.wat2wasm(_HANDLER.format(body=TEXTS[name])))
