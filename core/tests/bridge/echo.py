"""A component that exports what it imports, for any type: what it is given, it gives back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from wasmplex.bridge import BridgedInstance, bridge
from wasmplex.bridge.kinds import inner_types
from wasmplex.bridge.transport import TransportName
from wasmplex.bridge.wat import Scope, instance_type
from wasmplex.component import read
from wasmplex.component.shape import Import, InstanceType, NamedType
from wasmplex.engine import Engine
from wasmplex.engine.text import assemble
from wasmplex.wit.types import Enum, Flags, FuncType, Param, Record, ValueType, VariantType

TRANSPORT: TransportName = "strings"
"""Set by the fixture `transport`."""


def echo(*types: ValueType, asynchronous: bool = False) -> bytes:
    """Return a component that imports ``f0: func(v: T0) -> T0`` ... as ``in``, and exports it as ``out``."""
    exports: dict[str, Any] = {}
    for type_ in types:
        for part in inner_types(type_):
            named = isinstance(part, (Record, VariantType, Enum, Flags))
            if named and NamedType(part) not in exports.values():
                exports[f"t{len(exports)}"] = NamedType(part)
    for number, type_ in enumerate(types):
        exports[f"f{number}"] = FuncType((Param("v", type_),), type_, asynchronous)
    text, _ = instance_type(InstanceType(exports), Scope("o"), "i")
    return assemble(f'(component (import "in" (instance $i {text})) (export "out" (instance $i)))')


@asynccontextmanager
async def running(
    engine: Engine,
    wasm: bytes,
    imports: Mapping[str, Mapping[str, Callable[..., Any]]],
    want: Callable[[Import], bool] = lambda item: True,
    *,
    vectors: bool = True,
) -> AsyncIterator[BridgedInstance]:
    """Run a component with everything that it imports served through the bridge.

    :param want: which imports are, if not all
    """
    bridged = bridge(wasm, read(wasm), imports, assemble, want, TRANSPORT, vectors=vectors)
    assert bridged is not None
    compiled = await engine.compile(bridged.wasm, read(bridged.wasm, composed=True))
    linked = engine.link(compiled, bridged.link(imports), "test")
    instance = BridgedInstance(await linked.instantiate(), bridged)
    try:
        if bridged.start is not None:
            await instance.call(bridged.start)
        yield instance
    finally:
        instance.close()
