"""Writes the pages that are made from code: `python docs/generate.py`. A test holds them to it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
TABLES = [
    ("[host]", "wasmplex.config.sections:HostSection", ""),
    ("[engine]", "wasmplex.config.sections:EngineSection", ""),
    ("[http]", "wasmplex.triggers.http.settings:HttpSettings", ""),
    ("[workload.NAME]", "wasmplex.config.sections:WorkloadSection", ""),
    ("limits", "wasmplex.config.sections:Limits", "in a workload"),
    ("instances", "wasmplex.config.sections:Instances", "in a workload"),
    ("trigger.http", "wasmplex.triggers.http.settings:RouteSettings", "in a workload"),
    ("trigger.watch", "wasmplex.triggers.watch.trigger:WatchSettings", "in a workload"),
    ("[workload.NAME.import.LABEL]", "wasmplex.config.sections:BindingSection",
     'and `[workload.NAME.default."namespace:package"]`; its interface and its backend add their keys'),
    ("a key-value binding", "wasmplex.interfaces.keyvalue_policy:KeyValueSettings", "besides those above"),
    ('backend = "memory"', "host_plugin_memory:MemorySettings", "host-plugin-memory"),
    ('backend = "sqlite"', "host_plugin_sqlite:SqliteSettings", "host-plugin-sqlite"),
    ('backend = "redis"', "host_plugin_redis:RedisSettings", "host-plugin-redis"),
    ('backend = "nats"', "host_plugin_nats:NatsSettings", "host-plugin-nats"),
]  # fmt: skip
HEAD = """\
# Configuration

What stands in `host.toml` (or, with the same keys, `host.yaml`). Made by `python docs/generate.py` from the
models that read it; a key that is not listed is an error.

Durations are written `"250ms"`, `"10s"`, `"5m"`, `"1h"`, sizes `"64KiB"`, `"256MiB"`, `"1GiB"`. Any value
may be `{ env = "NAME" }` or `{ file = "path" }`; such values are never printed.
"""


def configuration() -> str:
    """Return the reference of the configuration."""
    parts = [HEAD]
    for title, place, note in TABLES:
        module, _, name = place.partition(":")
        rows = list(_rows(getattr(import_module(module), name)))
        parts.append(f"## `{title}`\n" + (f"\n{note}\n" if note else ""))
        parts.append("| key | type | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _rows(model: type) -> Iterator[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
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
        default = "" if found.is_required() else _default(field.value)
        cells = (f"`{found.alias or field.target.id}`", f"`{_type(field.annotation)}`", default, text)
        yield "| " + " | ".join(cell.replace("``", "`").replace("|", "\\|") for cell in cells) + " |"


def _type(annotation: ast.expr) -> str:
    """Return the annotation as it is written, without what only checks it."""
    text = ast.unparse(_Bare().visit(annotation))
    return text.lower() if text in ("Duration", "Size") else text


class _Bare(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node


def _default(value: ast.expr | None) -> str:
    if isinstance(value, ast.Call):
        given = {word.arg: word.value for word in value.keywords}
        value = given.get("default") or given.get("default_factory") or next(iter(value.args), value)
    return "" if value is None or ast.unparse(value) == "None" else f"`{ast.unparse(value)}`"


KIT = """\
# The key-value kit, test by test

What a subclass of `wasmplex.testing.KeyValueConformance` runs. A test that needs a feature is skipped unless
the provider declares it; most run several times, on the backend itself and through guests. Made by
`python docs/generate.py`.
"""


def kit() -> str:
    """Return what each test of the kit proves."""
    from wasmplex.testing import KeyValueConformance

    rows = []
    for name in sorted(name for name in dir(KeyValueConformance) if name.startswith("test_")):
        test = getattr(KeyValueConformance, name)
        needs = ", ".join(getattr(test, "needs", ()))
        proves = " ".join((inspect.getdoc(test) or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {needs} | {proves} |")
    return f"{KIT}\n| test | needs | what it proves |\n|---|---|---|\n" + "\n".join(rows) + "\n"


PAGES = {"configuration.md": configuration, "kit.md": kit}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), "utf-8")
