"""Reads WIT text as far as serving it needs: packages, interfaces, and the functions in them.

Types are kept as text. The component that imports an interface brings the types themselves.
https://component-model.bytecodealliance.org/design/wit.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wasmplex.wit.names import SemVer

__all__ = ["WitFunction", "WitInterface", "WitPackage", "WitSyntaxError", "parse"]

_TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<word>%?[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*)"
    r"|(?P<version>\d+(?:\.\d+)*(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)"
    r"|(?P<sign>->|[{}()<>,;:=@/.*_])",
    re.DOTALL,
)
_OPEN, _CLOSE = {"(": ")", "<": ">", "{": "}"}, {")", ">", "}"}
_BLOCKS = {"record", "variant", "flags", "enum"}


class WitSyntaxError(ValueError):
    """Raised for text that is not WIT; the message begins with the line."""


@dataclass(frozen=True, slots=True)
class WitFunction:
    """One function.

    :ivar name: its full name, ``find`` or ``[method]cursor.next``
    :ivar params: name and type of each parameter, without ``self``
    :ivar result: the type of the result as text, empty without one
    """

    name: str
    params: tuple[tuple[str, str], ...] = ()
    result: str = ""
    is_async: bool = False

    def __str__(self) -> str:
        params = ", ".join(f"{name}: {type_}" for name, type_ in self.params)
        result = f" -> {self.result}" if self.result else ""
        return f"{self.name}: {'async ' if self.is_async else ''}func({params}){result}"


@dataclass(frozen=True)
class WitInterface:
    """One interface: its functions by full name, and the names of its resources."""

    name: str
    functions: Mapping[str, WitFunction] = field(default_factory=dict)
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class WitPackage:
    """One package.

    :ivar name: ``acme:geo``
    :ivar version: ``1.2.0``, empty without one
    """

    name: str
    version: str = ""
    interfaces: Mapping[str, WitInterface] = field(default_factory=dict)


def parse(text: str) -> WitPackage:
    """Read the text of one package; its worlds are passed over.

    :raises WitSyntaxError: if it is not WIT, or has no package
    """
    return _Parser(text).package()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    # ------------------------------------------------------------ tokens

    @property
    def _next(self) -> str:
        return self._tokens[self._at][0]

    def _take(self) -> str:
        token = self._next
        if not token:
            self._fail("the text ends too early")
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if self._next != wanted:
            self._fail(f"{wanted!r} is missing before {self._next or 'the end'!r}")
        self._at += 1

    def _accept(self, wanted: str) -> bool:
        if self._next != wanted:
            return False
        self._at += 1
        return True

    def _word(self) -> str:
        token = self._take()
        if not re.match(r"%?[A-Za-z]", token):
            self._at -= 1
            self._fail(f"a name is missing before {token!r}")
        return token.removeprefix("%")

    def _fail(self, problem: str) -> None:
        raise WitSyntaxError(f"line {self._tokens[self._at][1]}: {problem}")

    def _skip_past(self, end: str) -> None:
        while (token := self._take()) != end:
            if token in _OPEN:
                self._skip_past(_OPEN[token])

    def _attributes(self) -> None:
        """Pass over ``@since(version = 1.0.0)`` and its like."""
        while self._accept("@"):
            self._word()
            if self._accept("("):
                self._skip_past(")")

    # ------------------------------------------------------------ grammar

    def package(self) -> WitPackage:
        self._attributes()
        if self._next != "package":
            self._fail("the text does not begin with 'package namespace:name;'")
        self._take()
        name, version = self._package_name()
        interfaces: dict[str, WitInterface] = {}
        self._expect(";")
        while self._next:
            self._attributes()
            match self._take():
                case "interface":
                    found = self._interface()
                    interfaces[found.name] = found
                case "world":
                    self._word()
                    self._expect("{")
                    self._skip_past("}")
                case "use":
                    self._skip_past(";")
                case "package":  # the text of a dependency follows
                    self._package_name()
                    self._expect("{")
                    self._skip_past("}")
                case other:
                    self._at -= 1
                    self._fail(f"{other!r} is neither an interface nor a world")
        return WitPackage(name, version, interfaces)

    def _package_name(self) -> tuple[str, str]:
        name = self._word()
        while self._accept(":"):
            name += f":{self._word()}"
        if ":" not in name:
            self._fail(f"the package {name!r} has no namespace")
        version = ""
        if self._accept("@"):
            version = self._take()
            try:
                SemVer.parse(version)
            except ValueError as error:
                self._fail(str(error))
        return name, version

    def _interface(self) -> WitInterface:
        name = self._word()
        functions: dict[str, WitFunction] = {}
        resources: list[str] = []
        self._expect("{")
        while not self._accept("}"):
            self._attributes()
            found: list[WitFunction] = []
            word = self._word()
            if self._next == ":":
                found = [self._function(word)]
            elif word == "resource":
                resources.append(self._word())
                found = self._resource(resources[-1])
            elif word in _BLOCKS:
                self._word()
                self._expect("{")
                self._skip_past("}")
            elif word in ("type", "use"):
                self._skip_past(";")
            else:
                self._fail(f"{word!r} begins nothing that an interface may have")
            functions |= {function.name: function for function in found}
        return WitInterface(name, functions, tuple(resources))

    def _resource(self, resource: str) -> list[WitFunction]:
        found: list[WitFunction] = []
        if self._accept(";"):
            return found
        self._expect("{")
        while not self._accept("}"):
            self._attributes()
            name = self._word()
            if name == "constructor" and self._next == "(":
                found.append(self._signature(f"[constructor]{resource}"))
                continue
            self._expect(":")
            kind = "static" if self._accept("static") else "method"
            found.append(self._function(f"[{kind}]{resource}.{name}", colon=False))
        return found

    def _function(self, name: str, *, colon: bool = True) -> WitFunction:
        if colon:
            self._expect(":")
        is_async = self._accept("async")
        self._expect("func")
        return self._signature(name, is_async=is_async)

    def _signature(self, name: str, *, is_async: bool = False) -> WitFunction:
        params: list[tuple[str, str]] = []
        self._expect("(")
        while not self._accept(")"):
            param = self._word()
            self._expect(":")
            params.append((param, self._type()))
            if not self._accept(",") and self._next != ")":
                self._fail(f"',' is missing before {self._next!r}")
        result = self._type() if self._accept("->") else ""
        self._expect(";")
        return WitFunction(name, tuple(params), result, is_async)

    def _type(self) -> str:
        """Return the tokens of a type, up to what ends it."""
        parts: list[str] = []
        depth = 0
        while self._next and (depth or self._next not in {",", ")", ";"}):
            part = self._take()
            depth += (part in _OPEN) - (part in _CLOSE)
            parts.append(f"{part} " if part == "," else part)
        if not parts:
            self._fail(f"a type is missing before {self._next!r}")
        return "".join(parts)


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise WitSyntaxError(f"line {line}: {text[at]!r} has no place in WIT")
        if match.lastgroup != "skip":
            yield match[0], line
        line += match[0].count("\n")
        at = match.end()
    yield "", line
