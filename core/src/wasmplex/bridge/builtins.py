"""The built-ins of an adapter: one core function each, in one table that the host picks from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from wasmplex.bridge.custody import Custody
from wasmplex.bridge.kinds import KindTable, points
from wasmplex.bridge.wat import Scope
from wasmplex.wit.types import ValueType

__all__ = ["Builtins", "ResourceBuiltins"]


@dataclass(frozen=True, slots=True)
class ResourceBuiltins:
    """Numbers of the built-ins of a resource type; -1 for those that its custody leaves no use for.

    :ivar take: owned handle in, representation out; the handle is gone, the resource lives on
    :ivar give: representation in, owned handle out
    :ivar look: borrowed handle in, representation out; the handle is gone
    :ivar drop: handle in, nothing out
    """

    take: int = -1
    give: int = -1
    look: int = -1
    drop: int = -1


@dataclass
class Builtins:
    """Built-ins in the order of their numbers.

    :ivar resource: those of each resource type
    :ivar stream: number of ``new`` for each stream type; ``read``, ``write``, ``cancel-read``,
        ``cancel-write``, ``drop-readable`` and ``drop-writable`` follow it
    :ivar future: the same for each future type
    :ivar functions: core functions of the machine itself that are built-ins, too
    """

    resource: list[ResourceBuiltins] = field(default_factory=list)
    stream: list[int] = field(default_factory=list)
    future: list[int] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    _canons: list[tuple[int, str]] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _types: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, kinds: KindTable, scope: Scope, elsewhere: Collection[ValueType] = ()) -> Builtins:
        """Give numbers to the built-ins that some kinds need.

        The functions that deal with a resource from elsewhere are ``$take0``, ``$give0`` and ``$peek0`` in
        the component; what makes streams and futures elsewhere is ``$make_stream0``, ``$make_future0``.

        :param elsewhere: streams and futures that are made elsewhere
        """
        table = cls()
        for number, resource in enumerate(kinds.resources):
            custody = kinds.custody(resource)
            table.resource.append(table._resource(number, scope.resources[resource.id], custody))
        for stream in kinds.streams:
            new = table._new("stream", len(table.stream), scope.ref(stream), away=stream in elsewhere)
            table.stream.append(new)
            table._copying("stream", scope.ref(stream), points(stream.element), "$copy")
        for future in kinds.futures:
            new = table._new("future", len(table.future), scope.ref(future), away=future in elsewhere)
            table.future.append(new)
            table._copying("future", scope.ref(future), points(future.element), "$copy1")
        return table

    def _add(self, text: str, type_: str) -> int:
        number = len(self._names)
        self._canons.append((number, text))
        self._types.append(type_)
        self._names.append(f"$b{number}")
        return number

    def _own(self, name: str, first: int, drop: int, around: str = "") -> int:
        """Add a core function of the machine: the outcome of `first`, after the handle was dropped."""
        before, after = (f"(global.set $taking (i32.const {n}))" if around else "" for n in (1, 0))
        self.functions.append(f"""(func {name} (param i32) (result i32) (local $rep i32)
  (local.set $rep (call $b{first} (local.get 0)))
  {before} (call $b{drop} (local.get 0)) {after} (local.get $rep))""")
        self._names.append(name)
        self._types.append("")
        return len(self._names) - 1

    def _resource(self, number: int, resource: str, custody: Custody) -> ResourceBuiltins:
        drop = self._add(f"(canon resource.drop {resource})", "$none")
        match custody:
            case Custody.DEFINED:
                rep = self._add(f"(canon resource.rep {resource})", "$one")
                give = self._add(f"(canon resource.new {resource})", "$one")
                return ResourceBuiltins(
                    self._own(f"$take{number}", rep, drop, around="$taking"), give, drop=drop
                )
            case Custody.KEPT | Custody.LINKED:
                take = self._add(f"(canon lower (func $take{number}))", "$one")
                give = self._add(f"(canon lower (func $give{number}))", "$one")
                peek = self._add(f"(canon lower (func $peek{number}))", "$one")
                return ResourceBuiltins(take, give, self._own(f"$look{number}", peek, drop), drop)
        return ResourceBuiltins(drop=drop)

    def name(self, number: int) -> str:
        """Return what the core function of a built-in is called in the machine."""
        return self._names[number]

    def _new(self, word: str, number: int, type_: str, *, away: bool) -> int:
        """Give a number to what makes a stream or future: both its ends, the readable one in the low half."""
        if not away:
            return self._add(f"(canon {word}.new {type_})", "$new")
        make = self._add(f"(canon lower (func $make_{word}{number}) (memory $mem))", "$none")
        self.functions.append(f"""(func $new_{word}{number} (result i64)
  (call $b{make} (i32.const @ENDS@)) (i64.load (i32.const @ENDS@)))""")
        self._names.append(f"$new_{word}{number}")
        self._types.append("")
        return len(self._names) - 1

    def _copying(self, word: str, type_: str, pointing: bool, copy: str) -> None:
        """Give numbers to the other six built-ins of a stream or future type."""
        memory = "(memory $hmem) (realloc $hrealloc)" if pointing else "(memory $smem)"
        for verb in ("read", "write"):
            self._add(f"(canon {word}.{verb} {type_} async {memory})", copy)
        for verb in ("cancel-read", "cancel-write"):
            self._add(f"(canon {word}.{verb} {type_})", "$one")
        for verb in ("drop-readable", "drop-writable"):
            self._add(f"(canon {word}.{verb} {type_})", "$none")

    @property
    def canons(self) -> str:
        """The definitions, for the component."""
        return "\n".join(f"  (core func $b{number} {text})" for number, text in self._canons)

    @property
    def imports(self) -> str:
        """The imports and the table, for the core module."""
        lines = [f'(import "b" "{i}" (func $b{i} (type {self._types[i]})))' for i, _ in self._canons]
        return "\n".join([*lines, f"(table $builtins funcref (elem {' '.join(self._names)}))"])

    @property
    def exports(self) -> str:
        """The inline instance that satisfies `imports`."""
        items = " ".join(f'(export "{i}" (func $b{i}))' for i, _ in self._canons)
        return f'(with "b" (instance {items}))'
