"""A plugin for a WIT package that somebody has: a class for each interface, its methods to be written."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from pathlib import Path

from wasmplex.errors import UsageError
from wasmplex.wit.names import FunctionName
from wasmplex.wit.source import WitFunction, WitInterface, WitPackage, WitSyntaxError, parse

__all__ = ["files"]

_TAKEN = frozenset({"Any", "InterfaceProvider", "Iterable", "Path"})


def _read(path: Path) -> tuple[WitPackage, str]:
    try:
        text = path.read_text("utf-8")
        package = parse(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=(error.strerror or str(error)).lower()) from None
    except (UnicodeDecodeError, WitSyntaxError) as error:
        raise UsageError(f"{path} is not WIT", why=str(error)) from None
    if not any(interface.functions for interface in package.interfaces.values()):
        raise UsageError(f"{path} has no interface with functions, and so nothing to serve")
    return package, text


def files(path: Path, name: str) -> tuple[str, dict[str, str]]:
    """Return the name of the package in a file, and the files of a plugin for it.

    :param name: of the plugin
    :raises UsageError: it cannot be read, is not WIT, or has nothing to serve
    """
    package, text = _read(path)
    module = f"host_plugin_{name.replace('-', '_')}"
    wit = f"{package.name.rpartition(':')[2]}.wit"
    return package.name, {
        "README.md": readme(package, name),
        f"src/{module}/__init__.py": source(package, wit),
        f"src/{module}/{wit}": text,
        "tests/test_classes.py": tests(package, module),
    }


def source(package: WitPackage, wit: str) -> str:
    """Return the module of the plugin.

    :param wit: the name of the file with the package, beside it
    """
    served = {name: one for name, one in package.interfaces.items() if one.functions}
    classes = {name: _class_name(name) for name in served}
    table = ", ".join(f'"{name}": {class_}' for name, class_ in classes.items())
    body: list[str] = []
    for name, interface in served.items():
        body += ["", "", *_class(classes[name], name, interface)]
    lines = [
        f'"""The WIT package ``{package.name}``: what the host imports when a component does."""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Iterable",
        "from pathlib import Path",
        *(["from typing import Any"] if any("Any" in line for line in body) else []),
        "",
        "from wasmplex.plugin import InterfaceProvider, hookimpl, wit_package",
        *body,
        "",
        "",
        "@hookimpl",
        "def wasmplex_interfaces() -> Iterable[InterfaceProvider]:",
        '    """Register the package; the classes are compared with the WIT here."""',
        f'    return [wit_package(Path(__file__).with_name("{wit}"), {{{table}}})]',
    ]
    return "\n".join(lines) + "\n"


def readme(package: WitPackage, name: str) -> str:
    """Return the first page of the plugin."""
    interface = next(iter(package.interfaces))
    return f"""# host-plugin-{name}

The WIT package `{package.name}` for [wasmplex](https://pypi.org/project/wasmplex/), served by plain
Python classes.

```toml
[workload.shop.import.some-label]   # an import without a label needs no table
interface = "{package.name}/{interface}"
```
"""


def tests(package: WitPackage, module: str) -> str:
    """Return the first test of the plugin: its classes are what the WIT asks for."""
    return f'''from wasmplex.plugins import Registry

import {module}


def test_the_classes_fit_the_wit() -> None:
    registry = Registry(path=[], disable="")
    registry.add({module})
    (provider,) = registry.interfaces("{package.name}")
    assert provider.package == "{package.name}"
'''


def _class(name: str, interface: str, found: WitInterface) -> Iterator[str]:
    yield f"class {name}:"
    yield f'    """The interface ``{interface}``; each import of it has an object of its own."""'
    for function in found.functions.values():
        if FunctionName.parse(function.name).resource is None:
            yield from _method(function, "    ")
    for resource in found.resources:
        yield ""
        yield f"    class {_camel(resource)}:"
        yield f'        """The resource ``{resource}``."""'
        for function in found.functions.values():
            if FunctionName.parse(function.name).resource == resource:
                yield from _method(function, "        ")


def _method(function: WitFunction, indent: str) -> Iterator[str]:
    parsed = FunctionName.parse(function.name)
    made = parsed.kind == "constructor"
    name = "__init__" if made else _snake(parsed.name)
    static = parsed.kind == "static"
    params = ", ".join([*([] if static else ["self"]), *(f"{_snake(p)}: Any" for p, _ in function.params)])
    result = "None" if made or not function.result else "Any"
    yield ""
    if static:
        yield f"{indent}@staticmethod"
    yield f"{indent}{'async ' if function.is_async else ''}def {name}({params}) -> {result}:"
    text = str(function).replace("\\", "\\\\").replace('"', "'")
    yield f'{indent}    """``{text}``"""'
    yield f'{indent}    raise NotImplementedError("{function.name}")'


def _class_name(interface: str) -> str:
    name = _camel(interface)
    return f"{name}Interface" if name in _TAKEN else name


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))


def _snake(name: str) -> str:
    text = name.replace("-", "_").lower()
    return f"{text}_" if keyword.iskeyword(text) else text
