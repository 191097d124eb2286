"""A compiled component, and what is generated from its types once."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasmtime.component import Component

from wasmplex.component.shape import InstanceType, Shape
from wasmplex.engine import capi
from wasmplex.engine.codec.generate import Codec, ExportCodec
from wasmplex.engine.codec.layout import uncarried
from wasmplex.engine.store import STATES, fail
from wasmplex.errors import UsageError, nearest
from wasmplex.wit.types import FuncType

if TYPE_CHECKING:
    from wasmplex.engine.services import Services
    from wasmplex.engine.variants import Variant

__all__ = ["Compiled", "ExportEntry", "unsupported"]


@dataclass(frozen=True, slots=True)
class ExportEntry:
    """One exported function: its name, how it is called, and wasmtime's index of it."""

    name: str
    codec: ExportCodec
    index: int


class Compiled:
    """A component's machine code, ready to be linked. Made by `Engine.compile`; shared by all its workloads.

    :ivar shape: what it imports and exports
    :ivar size: bytes of the component's binary
    """

    def __init__(
        self, services: Services, variant: Variant, component: Component, shape: Shape, size: int
    ) -> None:
        self.services = services
        self.variant = variant
        self.shape = shape
        self.size = size
        self.codec = Codec(STATES, fail)
        self.needs = 0
        """Bytes of memory that an instance has taken to be made, as far as that has been seen."""
        self._component = component
        self.component = ctypes.cast(component.ptr(), ctypes.c_void_p).value or 0
        self._exports: dict[str, ExportEntry] = {}
        self._indexes: list[int] = []
        weakref.finalize(self, _delete_indexes, self._indexes)

    @property
    def image_size(self) -> int:
        """Bytes of those memories of an instance that are kept, and brought back to their images."""
        return self.variant.creator.image_size

    @property
    def functions(self) -> dict[str, FuncType]:
        """All exported functions by the names that `Instance.call` takes."""
        found = {}
        for export in self.shape.exports:
            if isinstance(export.type, FuncType):
                found[export.name] = export.type
            elif isinstance(export.type, InstanceType):
                found |= {
                    f"{export.name}#{name}": function for name, function in export.type.functions.items()
                }
        return found

    def export(self, name: str) -> ExportEntry:
        """Return an exported function; the code for it is generated when it is first asked for.

        :raises UsageError: if there is none of that name, or one that cannot be called
        """
        if name not in self._exports:
            functions = self.functions
            if name not in functions:
                raise UsageError(f"the component exports no function {name!r}", why=nearest(name, functions))
            function = functions[name]
            if (reason := uncarried_reason(function)) is not None:
                raise UsageError(f"the exported function {name!r} cannot be called directly", why=reason)
            self._exports[name] = ExportEntry(name, self.codec.export(name, function), self._index(name))
        return self._exports[name]

    def _index(self, name: str) -> int:
        outer = 0
        for part in name.split("#", 1):
            text = part.encode()
            outer = capi.get_export_index(self.component, outer, text, len(text))
            if not outer:
                raise UsageError(f"the compiled component has no export {name!r}")
            self._indexes.append(outer)
        return outer


def unsupported(type: FuncType) -> str | None:
    """Return why wasmtime's C API cannot carry calls of an imported function, None if it can."""
    if type.is_async:
        return "it is an async func: that goes through the bridge"
    return uncarried_reason(type)


def uncarried_reason(type: FuncType) -> str | None:
    """Return which part of a function's type has no value in wasmtime's C API, None if all have."""
    types = [*(param.type for param in type.params), *([] if type.result is None else [type.result])]
    for part in types:
        if (name := uncarried(part)) is not None:
            return f"its type has a {name}: that goes through the bridge"
    return None


def _delete_indexes(indexes: list[int]) -> None:
    while indexes:
        capi.export_index_delete(indexes.pop())
