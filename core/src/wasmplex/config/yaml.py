"""YAML with positions, made from PyYAML's nodes: nothing but text, numbers, truth values, lists and maps.

Plain scalars are read as YAML 1.2 has them, so ``on`` and ``12:30`` are text. Aliases are expanded up to a
fixed number of values, and a merge key (``<<``) may take from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from yaml.error import Mark
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from wasmplex.config.document import Parsed, quoted, spell
from wasmplex.config.model import KeyPath
from wasmplex.config.references import UNRESOLVED
from wasmplex.errors import ConfigError, Diagnostic
from wasmplex.escaping import escape

__all__ = ["parse", "parse_all"]

_TAG = "tag:yaml.org,2002:"
_NAME = re.compile(r"(?P<kind>alias|anchor|tag handle) '[^']*'")
_MAX_VALUES = 200_000  # after aliases are expanded; a host with thousands of workloads stays below


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars by the core schema of YAML 1.2, without its leading zeros."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's name and type


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))


def parse(text: str, file: str) -> Parsed:
    """Parse `text`, one YAML document whose root is a map.

    :raises ConfigError: it is not YAML, or its root is something else; the message has the line
    """
    return _built(_composed(text, file, lambda: yaml.compose(text, Loader=_Loader)), file)


def parse_all(text: str, file: str) -> list[Parsed]:
    """Parse `text`, any number of YAML documents whose roots are maps.

    :raises ConfigError: as `parse`
    """
    nodes = _composed(text, file, lambda: [*yaml.compose_all(text, Loader=_Loader)])
    return [_built(node, file) for node in nodes]


def _composed(text: str, file: str, compose: Callable[[], Any]) -> Any:
    try:
        return compose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The names of aliases, anchors and tags may be texts that somebody forgot to quote: passwords, say.
        why = _NAME.sub(r"\g<kind>", " ".join(part for part in (error.context, error.problem) if part))
        raise ConfigError(f"{file} is not valid YAML", where=_at(file, mark), why=escape(why)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        why = f"the character U+{error.character:04X} is not allowed"
        raise ConfigError(f"{file} is not valid YAML", where=f"{file}:{line}", why=why) from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deeply", where=f"{file}:1") from None
    except (ValueError, OverflowError):  # PyYAML does not check the numbers in escapes and directives
        why = "an escape or a directive has a number that is too large"
        raise ConfigError(f"{file} is not valid YAML", where=f"{file}:1", why=why) from None


def _built(node: Node | None, file: str) -> Parsed:
    if node is None or _is_null(node):
        return Parsed({}, {})
    if not isinstance(node, MappingNode):
        raise ConfigError(
            f"{file} is not a map of keys to values", where=_at(file, node.start_mark), fix="workload:"
        )
    return _Builder(file).build(node)


def _at(file: str, mark: Mark | None) -> str:
    return f"{file}:{mark.line + 1}, column {mark.column + 1}" if mark else f"{file}:1"


def _is_null(node: Node) -> bool:
    return node.tag == _TAG + "null"


class _Builder:
    """Turns nodes into values, and keeps count of them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[KeyPath, int] = {}
        self._problems: dict[tuple[int, str], Diagnostic] = {}  # once each, however many aliases lead there
        self._count = 0
        self._open: set[int] = set()  # nodes being built: an alias to one of them would never end

    def build(self, root: MappingNode) -> Parsed:
        try:
            values = self._map(root, ())
        except RecursionError:
            raise ConfigError(f"{self._file} is nested too deeply", where=f"{self._file}:1") from None
        return Parsed(values, self._lines, list(self._problems.values()))

    def _refuse(self, mark: Mark, path: KeyPath, what: str, *, why: str = "", fix: str = "") -> None:
        where = f"{self._file}:{mark.line + 1} ({spell(path)})"
        self._problems.setdefault((mark.line, what), Diagnostic(what, where, why, fix))

    def _spend(self, node: Node) -> None:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise ConfigError(
                f"{self._file} has too many values",
                where=_at(self._file, node.start_mark),
                why=f"aliases expand to more than {_MAX_VALUES}",
            )

    def _value(self, node: Node, path: KeyPath) -> Any:
        self._spend(node)
        if id(node) in self._open:
            self._refuse(node.start_mark, path, "an alias refers to what it stands in")
            return UNRESOLVED
        match node:
            case MappingNode(tag=tag) if tag == _TAG + "map":
                return self._map(node, path)
            case SequenceNode(tag=tag) if tag == _TAG + "seq":
                return self._sequence(node, path)
            case ScalarNode():
                return self._scalar(node, path)
        return self._unknown_tag(node, path)

    def _sequence(self, node: SequenceNode, path: KeyPath) -> list[Any]:
        self._open.add(id(node))
        items = []
        for number, item in enumerate(node.value):
            self._lines[(*path, number)] = item.start_mark.line + 1
            items.append(self._value(item, (*path, number)))
        self._open.remove(id(node))
        return items

    def _map(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        pairs = self._pairs(node, path)
        self._open.add(id(node))
        values = {}
        for name, (key, item) in pairs.items():
            self._lines[(*path, name)] = key.start_mark.line + 1
            values[name] = self._value(item, (*path, name))
        self._open.remove(id(node))
        return values

    def _pairs(self, node: MappingNode, path: KeyPath) -> dict[str, tuple[Node, Node]]:
        """Return key and value nodes by name: a map's own, then those that it merges and lacks itself."""
        self._open.add(id(node))
        pairs: dict[str, tuple[Node, Node]] = {}
        merged: list[Node] = []
        for key, item in node.value:
            if key.tag == _TAG + "merge":
                merged.append(item)
            elif (name := self._key(key, path)) in pairs:
                why = f"first on line {pairs[name][0].start_mark.line + 1}"
                what = f"the key {quoted(name)} is written twice"
                self._refuse(key.start_mark, (*path, name), what, why=why)
            elif name is not None:
                pairs[name] = (key, item)
        for source in self._sources(merged, path):
            pairs = {**self._pairs(source, path), **pairs}
        self._open.remove(id(node))
        return pairs

    def _key(self, node: Node, path: KeyPath) -> str | None:
        self._spend(node)
        name = self._text(node, path) if isinstance(node, ScalarNode) else None
        if name is None:
            self._refuse(node.start_mark, path, "a key is not text")
        return name if isinstance(name, str) else None

    def _sources(self, merged: list[Node], path: KeyPath) -> Iterator[MappingNode]:
        """Yield the maps that merge keys name, one or a list of them each; the first wins."""
        for node in merged:
            for source in node.value if isinstance(node, SequenceNode) else [node]:
                if isinstance(source, MappingNode) and id(source) not in self._open:
                    yield source
                else:
                    self._refuse(node.start_mark, path, "what is merged with << is not a map")

    def _text(self, node: ScalarNode, path: KeyPath) -> Any:
        """Return the text of a scalar, surrogate escapes (as JSON writes them) put together."""
        text: str = node.value
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._refuse(node.start_mark, path, "the text has half of a surrogate pair")
            return UNRESOLVED

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text = self._text(node, path)
        if text is UNRESOLVED:
            return text
        try:
            match node.tag.removeprefix(_TAG):
                case "str" | "merge":
                    return text
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return _integer(text)
                case "float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except (ValueError, KeyError):
            self._refuse(node.start_mark, path, f"the value is not what its tag {_short(node)} says")
            return UNRESOLVED
        return self._unknown_tag(node, path)

    def _unknown_tag(self, node: Node, path: KeyPath) -> Any:
        self._refuse(
            node.start_mark,
            path,
            f"the tag {_short(node)} is not known",
            why="a configuration has text, numbers, true and false, lists and maps only",
        )
        return UNRESOLVED


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)


def _short(node: Node) -> str:
    """Return a tag of YAML's own; one that is not may be a text that somebody forgot to quote."""
    return escape(node.tag.replace(_TAG, "!!")) if node.tag.startswith(_TAG) else "of a value"
