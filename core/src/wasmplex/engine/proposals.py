"""WebAssembly proposals: the names people write, and the switches of wasmtime behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wasmplex.errors import UsageError, nearest

__all__ = ["ALWAYS", "KNOWN", "apply", "hint", "parse"]

_SETTERS: Final = {
    "branch-hinting": "branch_hinting",
    "bulk-memory": "bulk_memory",
    "compact-imports": "compact_imports",
    "component-model-accessors": "component_model_accessors",
    "component-model-async": "component_model_async",
    "component-model-async-stackful": "component_model_async_stackful",
    "component-model-canonical-names": "component_model_canonical_names",
    "component-model-implements": "component_model_implements",
    "component-model-map": "component_model_map",
    "component-model-more-async-builtins": "component_model_more_async_builtins",
    "custom-page-sizes": "custom_page_sizes",
    "exception-handling": "exceptions",
    "function-references": "function_references",
    "gc": "gc",
    "memory64": "memory64",
    "multi-memory": "multi_memory",
    "multi-value": "multi_value",
    "reference-types": "reference_types",
    "relaxed-simd": "relaxed_simd",
    "relaxed-simd-deterministic": "relaxed_simd_deterministic",
    "simd": "simd",
    "stack-switching": "stack_switching",
    "tail-call": "tail_call",
    "threads": "threads",
    "wide-arithmetic": "wide_arithmetic",
}

_ALIASES: Final = {"exceptions": "exception-handling"}

KNOWN: Final = frozenset(_SETTERS)
"""The names of all proposals that can be switched."""

ALWAYS: Final = "component-model-implements"
"""The proposal that is on whatever anybody says: labelled imports rest on it."""

_NEEDS_CONCURRENCY: Final = frozenset(name for name in _SETTERS if "async" in name)


def parse(names: Iterable[str]) -> dict[str, bool]:
    """Return which proposals a list of names switches on and off; the last word on each counts.

    Names are case-insensitive, ``_`` is as good as ``-``, a leading ``-`` switches off, and one
    string may hold several names, separated by commas.

    :raises UsageError: for a name that is not known, or one that cannot be switched off
    """
    chosen: dict[str, bool] = {}
    for written in (part.strip() for text in names for part in text.split(",")):
        if not written:
            continue
        name, enable = _canonical(written)
        if name not in _SETTERS:
            known = ", ".join(sorted(KNOWN))
            raise UsageError(
                f"unknown wasm proposal {written!r}", why=nearest(name, KNOWN), fix=f"one of: {known}"
            )
        if name == ALWAYS and not enable:
            raise UsageError(f"{name} cannot be switched off", why="labelled imports rest on it")
        chosen[name] = enable
    return chosen


_SWITCHED_OFF: Final = re.compile(r"not enabled|is disabled|requires the .*feature|proposal", re.IGNORECASE)


def hint(reason: str, unused: Iterable[str]) -> str:
    """Return what to do where wasmtime refuses a component: empty, if no proposal has to do with it.

    :param reason: what wasmtime says
    :param unused: the proposals that the component is seen to use and that are not switched on
    """
    if not _SWITCHED_OFF.search(reason):
        return ""
    said = reason.lower().replace("-", " ")
    named = [name for name in unused if name.replace("-", " ") in said]
    names = [name for name in named or unused if name in KNOWN]
    if names:
        return f"switch on the wasm proposals that it uses: {', '.join(names)}"
    return "there is no switch for it in this version: build the component without"


def _canonical(written: str) -> tuple[str, bool]:
    name = written.lower().replace("_", "-")
    enable = not name.startswith("-")
    name = name.lstrip("-")
    return _ALIASES.get(name, name), enable


def apply(config: Any, proposals: Mapping[str, bool], *, concurrency: bool) -> None:
    """Set the switches of a `wasmtime.Config`.

    :param concurrency: whether the engine has concurrency support; without it the async proposals cannot be
        on, and a component that needs them gets the other engine
    """
    from wasmtime import _ffi

    chosen = {ALWAYS: True, **proposals}
    if chosen.get("simd") is False:
        chosen.setdefault("relaxed-simd", False)
    for name, enable in chosen.items():
        if concurrency or name not in _NEEDS_CONCURRENCY:
            getattr(_ffi, f"wasmtime_config_wasm_{_SETTERS[name]}_set")(config.ptr(), enable)
