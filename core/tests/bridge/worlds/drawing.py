"""Draws WIT worlds: packages that use each other, resources, aliases, world-level types, all value types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

__all__ = ["WIDE", "Draw", "Interface", "World", "world"]

WIDE = 2000
"""From this seed on more is drawn: capitals in names, constructors that fail, borrowed handles inside of
types, maps, a package in two versions, interfaces that a world has by itself, worlds that include others."""
_KEYS = ("bool", "u8", "s16", "u32", "s64", "char", "string")

_PRIMITIVES = ("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string")


@dataclass
class Interface:
    """An interface, or the world itself, while it is drawn.

    :ivar path: how others name it, ``a:base/i1@1.0.0``
    :ivar types: names of the value types that it has
    :ivar lends: names of those that hold borrowed handles
    """

    path: str
    package: str = ""
    types: list[str] = field(default_factory=list)
    lends: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    uses: list[Interface] = field(default_factory=list)
    functions: int = 0


@dataclass(frozen=True)
class World:
    """A world.

    :ivar wit: the text, packages and all
    """

    wit: str


class Draw:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._names = 0
        self.wide = seed >= WIDE
        self.streams = self.random.random() < 0.6
        self.asynchronous = self.random.random() < 0.6

    def name(self, prefix: str) -> str:
        self._names += 1
        if self.wide and self.random.random() < 0.3:
            return self.random.choice(["{0}{1}", "{2}{1}", "{0}-{2}{1}", "{2}-{0}{1}-{0}"]).format(
                prefix, self._names, prefix.upper()
            )
        return f"{prefix}{self._names}"

    def some(self, low: int, high: int) -> range:
        return range(self.random.randint(low, high))

    # ------------------------------------------------------------ types

    def type(self, of: Interface, depth: int = 2, *, borrows: bool = False) -> str:
        """Return a type expression of what is in scope."""
        pick = self.random.random()
        if borrows and of.lends and self.random.random() < 0.2:
            return self.random.choice(of.lends)
        if borrows and of.resources and pick < 0.25:
            return f"borrow<{self.random.choice(of.resources)}>"
        if of.resources and pick < 0.35:
            return self.random.choice(of.resources)
        if of.types and pick < 0.65:
            return self.random.choice(of.types)
        if depth == 0 or pick < 0.78:
            return "list<u8>" if self.random.random() < 0.25 else self.random.choice(_PRIMITIVES)
        return self._compound(of, depth - 1, borrows=borrows)

    def _compound(self, of: Interface, depth: int, *, borrows: bool) -> str:
        def part() -> str:
            return self.type(of, depth, borrows=borrows)

        def own() -> str:
            return self.type(of, depth)

        kinds: list[Callable[[], str]] = [
            lambda: f"list<{part()}>",
            lambda: f"option<{part()}>",
            lambda: f"tuple<{', '.join(part() for _ in self.some(1, 3))}>",
            lambda: self.random.choice(
                ["result", f"result<{part()}>", f"result<_, {part()}>", f"result<{part()}, {part()}>"]
            ),
        ]
        if self.wide:
            kinds.append(lambda: f"map<{self.random.choice(_KEYS)}, {part()}>")
        if self.streams:
            kinds += [
                lambda: self.random.choice(["stream<u8>", f"stream<{own()}>", "stream"]),
                lambda: self.random.choice(["future<u8>", f"future<{own()}>", "future"]),
            ]
        return self.random.choice(kinds)()

    def typedef(self, of: Interface) -> None:
        kind, name = self.random.randrange(6), self.name("ty")
        if self.wide and of.resources and self.random.random() < 0.2:
            lent = f"borrow<{self.random.choice(of.resources)}>"
            of.lines.append(
                self.random.choice(
                    [
                        f"record {name} {{ a: {lent}, b: {self.type(of, borrows=True)} }}",
                        f"variant {name} {{ a, b({lent}), c({self.type(of, borrows=True)}) }}",
                        f"type {name} = list<option<{lent}>>;",
                    ]
                )
            )
            of.lends.append(name)
            return
        match kind:
            case 0:
                parts = ", ".join(f"f{n}: {self.type(of)}" for n in self.some(1, 4))
                of.lines.append(f"record {name} {{ {parts} }}")
            case 1:
                texts = [f"c{n}" + self.random.choice(["", f"({self.type(of)})"]) for n in self.some(1, 5)]
                of.lines.append(f"variant {name} {{ {', '.join(texts)} }}")
            case 2:
                of.lines.append(f"enum {name} {{ {', '.join(f'e{n}' for n in self.some(1, 5))} }}")
            case 3:
                of.lines.append(f"flags {name} {{ {', '.join(f'b{n}' for n in self.some(1, 20))} }}")
            case 4 if of.resources and self.random.random() < 0.5:
                of.lines.append(f"type {name} = {self.random.choice(of.resources)};")
                of.resources.append(name)
                return
            case _:
                of.lines.append(f"type {name} = {self.type(of)};")
        of.types.append(name)

    def function(self, of: Interface, *, kind: str = "func") -> str:
        params = ", ".join(f"p{n}: {self.type(of, borrows=True)}" for n in self.some(0, 4))
        result = f" -> {self.type(of)}" if self.random.random() < 0.7 else ""
        word = "async " if self.asynchronous and self.random.random() < 0.4 else ""
        of.functions += 1
        return f"{'static ' if kind == 'static' else ''}{word}func({params}){result};"

    def resource(self, of: Interface) -> None:
        name = self.name("re")
        of.resources.append(name)
        body = []
        if self.random.random() < 0.5:
            params = ", ".join(f"p{n}: {self.type(of, borrows=True)}" for n in self.some(0, 2))
            fails = self.wide and self.random.random() < 0.4
            error = self.random.choice(["", f", {self.type(of)}"]) if fails else ""
            body.append(f"constructor({params}){f' -> result<{name}{error}>' if fails else ''};")
        body += [f"{self.name('me')}: {self.function(of)}" for _ in self.some(0, 2)]
        body += [f"{self.name('st')}: {self.function(of, kind='static')}" for _ in self.some(0, 1)]
        body = [line.replace(": static ", ": static ") for line in body]
        of.lines.append(f"resource {name} {{ {' '.join(body)} }}")

    # ------------------------------------------------------------ interfaces

    def use(self, of: Interface, source: Interface, *, every: bool = False) -> None:
        names = [*source.types, *source.resources, *source.lends]
        if not names or source in of.uses:
            return
        of.uses.append(source)
        parts = []
        count = len(names) if every else min(len(names), self.random.randint(1, 3))
        for name in names if every else self.random.sample(names, count):
            to = self.name("us") if not every and self.random.random() < 0.3 else name
            if to in (*of.types, *of.resources, *of.lends):
                continue
            parts.append(name if to == name else f"{name} as {to}")
            kind = "resources" if name in source.resources else "lends" if name in source.lends else "types"
            getattr(of, kind).append(to)
        if parts:
            path = source.path if source.package != of.package else source.path.split("/")[1].split("@")[0]
            of.lines.append(f"use {path}.{{{', '.join(parts)}}};")

    def interface(self, package: str, version: str, before: Sequence[Interface], name: str = "") -> Interface:
        name = name or self.name("if")
        of = Interface(f"{package}/{name}{version}", package + version)
        for source in self.random.sample(list(before), min(len(before), self.random.randint(0, 2))):
            self.use(of, source)
        for _ in self.some(0, 4):
            self.resource(of) if self.random.random() < 0.3 else self.typedef(of)
        for _ in self.some(0, 3):
            of.lines.append(f"{self.name('fn')}: {self.function(of)}")
        return of


def world(seed: int) -> World:
    """Draw the world of a seed."""
    draw = Draw(seed)
    every: list[Interface] = []
    packages = []
    for number in range(draw.random.randint(1, 3)):
        package = f"p{number}:lib"
        version = draw.random.choice(["", "@1.0.0", "@0.2.3"])
        versions = [version] if not draw.wide or draw.random.random() < 0.6 else ["@0.2.3", "@1.0.0"]
        names: list[str] = []
        for version in versions:
            interfaces: list[Interface] = []
            for nth in draw.some(1, 3):
                name = names[nth] if nth < len(names) else ""
                interfaces.append(draw.interface(package, version, [*every, *interfaces], name))
            names = names or [_name(of) for of in interfaces]
            every += interfaces
            body = "\n".join(_text(of) for of in interfaces)
            packages.append(f"package {package}{version} {{\n{body}\n}}")
    main = Interface("world", "t:main")
    for source in draw.random.sample(every, min(len(every), draw.random.randint(0, 2))):
        draw.use(main, source)
    for _ in draw.some(0, 2):
        draw.resource(main) if draw.random.random() < 0.2 else draw.typedef(main)
    lines = [*main.lines]
    included: list[str] = []
    for of in every:
        where = included if draw.wide and draw.random.random() < 0.2 else lines
        where += [f"{word} {of.path};" for word in ("import", "export") if draw.random.random() < 0.45]
    for word in ("import", "export") if draw.wide else ():
        if draw.random.random() < 0.3:
            own = draw.interface("t:main", "", every)
            lines.append(f"{word} {draw.name('in')}: interface {{ {chr(10).join(own.lines)} }}")
    for word in ("import", "export"):
        lines += [f"{word} {draw.name('fn')}: {draw.function(main)}" for _ in draw.some(0, 2)]
    text = "\n".join(lines)
    if included:
        text = f"include t:base/base;\n{text}"
        packages.append(f"package t:base {{ world base {{ {' '.join(included)} }} }}")
    return World(f"package t:main;\nworld w {{\n{text}\n}}\n" + "\n".join(packages))


def _name(of: Interface) -> str:
    return of.path.split("/")[1].split("@")[0]


def _text(of: Interface) -> str:
    return f"interface {_name(of)} {{\n" + "\n".join(of.lines) + "\n}"
