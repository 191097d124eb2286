"""The canonical built-ins of an adapter: one core function each, in one table that the host picks from."""

from __future__ import annotations

from dataclasses import dataclass, field

from wasmplex.bridge.kinds import KindTable, points
from wasmplex.bridge.wat import Scope

__all__ = ["Builtins"]


@dataclass
class Builtins:
    """Built-ins in the order of their numbers.

    :ivar resource: number of ``resource.rep`` for each resource type; ``resource.drop`` and
        ``resource.new`` follow it
    :ivar stream: number of ``new`` for each stream type; ``read``, ``write``, ``cancel-read``,
        ``cancel-write``, ``drop-readable`` and ``drop-writable`` follow it
    :ivar future: the same for each future type
    :ivar memories: for each stream, then each future type: which stream memory its elements use
    """

    resource: list[int] = field(default_factory=list)
    stream: list[int] = field(default_factory=list)
    future: list[int] = field(default_factory=list)
    memories: list[int] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _types: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, kinds: KindTable, scope: Scope, *, defined: bool) -> Builtins:
        """Give numbers to the built-ins that some kinds need.

        :param defined: True if the adapter defines the resources, so that it may look inside handles
        """
        table = cls()
        for resource in kinds.resources:
            table.resource.append(table._resource(scope.resources[resource.id], defined=defined))
        for stream in kinds.streams:
            table.stream.append(table._copying("stream", scope.ref(stream), points(stream.element), "$copy"))
        for future in kinds.futures:
            table.future.append(table._copying("future", scope.ref(future), points(future.element), "$copy1"))
        return table

    def _add(self, text: str, type_: str) -> int:
        self._texts.append(text)
        self._types.append(type_)
        return len(self._texts) - 1

    def _resource(self, resource: str, *, defined: bool) -> int:
        first = self._add(f"resource.rep {resource}", "$one") if defined else len(self._texts)
        self._add(f"resource.drop {resource}", "$none")
        if defined:
            self._add(f"resource.new {resource}", "$one")
        return first

    def _copying(self, word: str, type_: str, pointing: bool, copy: str) -> int:
        """Give numbers to the seven built-ins of a stream or future type."""
        memory = "(memory $hmem) (realloc $hrealloc)" if pointing else "(memory $smem)"
        self.memories.append(int(pointing))
        first = self._add(f"{word}.new {type_}", "$new")
        for verb in ("read", "write"):
            self._add(f"{word}.{verb} {type_} async {memory}", copy)
        for verb in ("cancel-read", "cancel-write"):
            self._add(f"{word}.{verb} {type_}", "$one")
        for verb in ("drop-readable", "drop-writable"):
            self._add(f"{word}.{verb} {type_}", "$none")
        return first

    @property
    def canons(self) -> str:
        """The definitions, for the component."""
        return "\n".join(f"  (core func $b{i} (canon {text}))" for i, text in enumerate(self._texts))

    @property
    def imports(self) -> str:
        """The imports and the table, for the core module."""
        lines = [f'(import "b" "{i}" (func $b{i} (type {type_})))' for i, type_ in enumerate(self._types)]
        names = " ".join(f"$b{i}" for i in range(len(self._types)))
        return "\n".join([*lines, f"(table $builtins funcref (elem {names}))"])

    @property
    def exports(self) -> str:
        """The inline instance that satisfies `imports`."""
        items = " ".join(f'(export "{i}" (func $b{i}))' for i in range(len(self._texts)))
        return f'(with "b" (instance {items}))'
