"""Writes the pages that are made from code: `python docs/generate.py`. A test holds them to it."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from wasmplex.settings import SecretStr, Settings

HERE = Path(__file__).parent
TABLES = [
    ("[host]", "wasmplex.config.sections:HostSection", ""),
    ("[log]", "wasmplex.config.sections:LogSection", "how `wasmplex run` logs on standard error"),
    ("[admin]", "wasmplex.config.sections:AdminSection", "what `wasmplex run` tells of itself, and to whom"),
    ("[engine]", "wasmplex.config.sections:EngineSection", ""),
    ("[http]", "wasmplex.triggers.http.settings:HttpSettings", ""),
    ("[workload.NAME]", "wasmplex.config.sections:WorkloadSection", ""),
    ("limits", "wasmplex.plugins.limits:Limits", "in a workload"),
    ("instances", "wasmplex.config.sections:Instances", "in a workload",
     "wasmplex.config.model:InstancesConfig"),
    ("trigger.http", "wasmplex.triggers.http.settings:RouteSettings", "in a workload"),
    ("trigger.http.middleware", "wasmplex.config.sections:MiddlewareSection",
     "an entry that is a table; one that is text is its `component`, with no grants"),
    ("trigger.cron", "wasmplex.triggers.cron.trigger:CronSettings",
     "in a workload, a table or a list of them; with `backend`, that backend's keys as well"),
    ("trigger.messaging", "wasmplex.triggers.messaging.settings:MessagingTriggerSettings",
     "in a workload, a table or a list of them; with `backend`, that backend's keys as well"),
    ("trigger.watch", "wasmplex.triggers.watch.trigger:WatchSettings", "in a workload"),
    ("[workload.NAME.import.LABEL]", "wasmplex.config.sections:BindingSection",
     'and `[workload.NAME.default."namespace:package"]`; its interface and its backend add their keys'),
    ("[[workload.NAME.host_interfaces]]", "wasmplex.config.sections:HostInterfaceSection", ""),
    ('[workload.NAME.default."wasi:http"]', "host_plugin_wasi.http_settings:OutgoingSettings",
     "host-plugin-wasi; and `import.LABEL` of an `outgoing-handler` with a label"),
    ("a blob-store binding", "wasmplex.interfaces.blobstore.policy:BlobStoreSettings", "besides those above"),
    ("a key-value binding", "wasmplex.interfaces.keyvalue.policy:KeyValueSettings", "besides those above"),
    ("a messaging binding", "wasmplex.interfaces.messaging.policy:MessagingSettings", "besides those above"),
    ("a Postgres binding", "wasmplex.interfaces.postgres.policy:PostgresPolicySettings",
     "besides those above"),
]  # fmt: skip
HEAD = """\
# Configuration

What stands in `host.toml` (or, with the same keys, `host.yaml`). Made by `python docs/generate.py` from the
models that read it; a key that is not listed is an error.

Durations are written `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"1d"`, or as a number: of seconds. Sizes are
written `"64KiB"`, `"256MiB"`, `"1GiB"`, with `kB`, `MB`, `GB` for powers of 1000, or as a number: of bytes.
A space may stand before the unit; capital and small letters are not the same. Any value may be
`{ env = "NAME" }` or `{ file = "path" }`; such values are never printed, but for the servers of a URL.
"""


def configuration() -> str:
    """Return the reference of the configuration."""
    parts = [HEAD]
    for title, place, note, *defaults in [*TABLES, *_backends()]:
        rows = list(_rows(_object(place), *(_object(place)() for place in defaults)))
        parts.append(f"## `{title}`\n" + (f"\n{note}\n" if note else ""))
        parts.append("| key | type | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _backends() -> Iterator[tuple[str, str, str]]:
    """Yield a table for the settings of each backend of the repository, by name."""
    for project in sorted(HERE.parent.glob("plugins/*/pyproject.toml")):
        described = tomllib.loads(project.read_text())["project"]
        for name, module in sorted(described.get("entry-points", {}).get("wasmplex.plugins", {}).items()):
            providers = [p for p in import_module(module).wasmplex_backends() if p.name == name]
            for model, capability in {p.settings: p.capability for p in reversed(providers)}.items():
                place = f"{model.__module__}:{model.__qualname__}"
                several = f", for {capability}" if len({p.settings for p in providers}) > 1 else ""
                yield f'backend = "{name}"', place, described["name"] + several


def _object(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _rows(model: type, defaults: object = None) -> Iterator[str]:
    """Return a row for each key: the model's own, then those that it has from others."""
    for part in model.__mro__:
        if issubclass(part, Settings) and part is not Settings:
            yield from _own_rows(part, model, defaults)


def _own_rows(part: type, model: type, defaults: object) -> Iterator[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for field, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        found = model.model_fields.get(field.target.id)  # type: ignore[attr-defined]
        if found is None:
            continue
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = " ".join(str(after.value.value).split())
        type_ = _type(field.annotation, vars(sys.modules[part.__module__]))
        value = getattr(defaults, field.target.id, None) or found.get_default(call_default_factory=True)
        default = "required" if found.is_required() else _default(value, type_)
        cells = (f"`{found.alias or field.target.id}`", f"`{type_}`", default, text)
        yield "| " + " | ".join(cell.replace("``", "`").replace("|", "\\|") for cell in cells) + " |"


NAMES = {
    "Duration": "duration", "Size": "size", "SecretStr": "secret text",
    "SecretUrl": "secret URL", "Path": "path", "str": "text",
    "Text": "text", "Label": "text", "Version": "text", "Address": "text", "Interfaces": "list of text",
    "int": "number", "Count": "number", "bool": "true or false", "Limits": "table", "Instances": "table",
}  # fmt: skip


def _type(annotation: ast.expr, known: Mapping[str, Any]) -> str:
    """Return what one writes for a value of this type.

    :param known: the names of the module that it stands in
    """
    match annotation:
        case ast.BinOp(left=left, right=ast.Constant(None)):  # an absent key is in no need of being a type
            return _type(left, known)
        case ast.BinOp(left=left, right=right):
            return f"{_type(left, known)} or {_type(right, known)}"
        case ast.Subscript(value=ast.Name("Annotated"), slice=ast.Tuple([bare, *_])):
            return _type(bare, known)
        case ast.Subscript(value=ast.Name("Literal"), slice=ast.Tuple(choices)):
            return _choices(ast.literal_eval(choice) for choice in choices)
        case ast.Subscript(value=ast.Name("Literal"), slice=choice):
            return _choices([ast.literal_eval(choice)])
        case ast.Subscript(value=ast.Name("tuple"), slice=ast.Tuple([item, _])):
            return "list of tables" if ast.unparse(item) == "Any" else f"list of {_type(item, known)}"
        case ast.Subscript(value=ast.Name("dict")):
            return "table"
    name = ast.unparse(annotation)
    if name not in NAMES and get_origin(known.get(name)) is Literal:
        return _choices(get_args(known[name]))
    return NAMES[name]


def _choices(values: Iterable[Any]) -> str:
    return " or ".join(json.dumps(value) for value in values)


UNITS = {"size": (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)), "duration": (("m", 60), ("s", 1))}


def _default(value: Any, type_: str) -> str:
    """Return how a default would be written in the file; empty for what has no effect."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()  # a default stands in the source
    if value is None or value == () or isinstance(value, (dict, Settings)):
        return ""
    if type_ in UNITS:
        unit, factor = next(((u, f) for u, f in UNITS[type_] if value >= f and value % f == 0), ("ms", 0.001))
        return f'`"{value / factor:g}{unit if value else "s"}"`'
    if isinstance(value, (bool, int)):
        return f"`{json.dumps(value)}`"
    return f"`{json.dumps(str(value))}`"


KIT = """\
# The kits, test by test

What a subclass of one of these classes of `wasmplex.testing` runs. A test is skipped unless the provider
declares the features that it needs; most run several times, on the backend itself and through guests, as far
as the interface that a guest imports has the words for it. Made by `python docs/generate.py`.
"""
KITS = {
    "Blob store": "BlobStoreConformance",
    "Key-value": "KeyValueConformance",
    "Messaging": "MessagingConformance",
    "Postgres": "PostgresConformance",
}


def kit() -> str:
    """Return what each test of the kits proves."""
    parts = [KIT]
    for title, name in KITS.items():
        parts.append(
            f"\n## {title}: `{name}`\n\n| test | features | words | what it proves |\n|---|---|---|---|\n"
        )
        parts.extend(f"{row}\n" for row in _proofs(_object(f"wasmplex.testing:{name}")))
    return "".join(parts)


def _proofs(conformance: type) -> Iterator[str]:
    for name in sorted(name for name in dir(conformance) if name.startswith("test_")):
        test = getattr(conformance, name)
        needs, words = (", ".join(sorted(getattr(test, name, ()))) for name in ("needs", "words"))
        proves = " ".join((inspect.getdoc(test) or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {needs} | {words} | {proves} |"


MADE = "<!-- What follows is made by docs/generate.py from core/tests/triggers/table -->"


def http() -> str:
    """Return the page on HTTP: what is written there by hand, and a table of what the tests play."""
    cases = _package("http_cases", HERE.parent / "core/tests/triggers/table")
    written, _, _ = (HERE / "internals/http.md").read_text("utf-8").partition(MADE)
    tables = {"Requests": cases.REQUESTS, "Answers": cases.ANSWERS}
    parts = [f"{written}{MADE}\n"]
    for title, groups in tables.items():
        parts.append(f"\n## {title}\n")
        for name, rows in groups.items():
            parts.append(f"\n### {name}\n\n| case | RFC | 0.1.0 | now |\n|---|---|---|---|\n")
            for row in rows:
                cells = (_cell(row.case), _section(row.section), _cell(row.before), _cell(row.now))
                parts.append(f"| {' | '.join(cells)} |\n")
    return "".join(parts)


def _package(name: str, folder: Path) -> Any:
    if name not in sys.modules:
        spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def _section(text: str) -> str:
    number, _, section = text.partition(" ")
    return f"[{text}](https://www.rfc-editor.org/rfc/rfc{number}#section-{section})" if section else ""


def _cell(text: str) -> str:
    shown = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return re.sub(r"([\\`|<>*_])", r"\\\1", shown.strip())


PAGES = {"configuration.md": configuration, "kit.md": kit, "internals/http.md": http}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), "utf-8")
