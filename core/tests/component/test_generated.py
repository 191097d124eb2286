"""Components made up at random, assembled by the engine, read back as what they were made from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmplex.component import InstanceType, read
from wasmplex.component.report import as_dict
from wasmplex.engine.text import assemble
from wasmplex.wit import types as t
from wasmplex.wit.render import render

PRIMITIVES: tuple[t.PrimitiveName, ...] = (
    "bool",
    "s8",
    "u8",
    "s16",
    "u16",
    "s32",
    "u32",
    "s64",
    "u64",
    "f32",
    "f64",
    "char",
    "string",
)
KEYS = tuple(name for name in PRIMITIVES if name not in ("f32", "f64"))

# A type with how it is written where it is used.
Used = tuple[t.ValueType, str]

labels = st.from_regex(r"[a-z][a-z0-9]{0,4}(-[a-z0-9]{1,3}|-[A-Z0-9]{1,3})?", fullmatch=True)


def names(minimum: int = 1, maximum: int = 5) -> st.SearchStrategy[list[str]]:
    return st.lists(labels, min_size=minimum, max_size=maximum, unique_by=str.lower)


def quoted(items: list[str] | tuple[str, ...]) -> str:
    return " ".join(f'"{item}"' for item in items)


@dataclass
class Interface:
    """An instance type in the making: what it is and how it is written."""

    draw: st.DrawFn
    exports: dict[str, object] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    values: list[Used] = field(default_factory=list)
    resources: list[tuple[t.Resource, str]] = field(default_factory=list)

    def fresh(self, prefix: str) -> str:
        return f"{prefix}{len(self.exports) + len(self.lines)}"

    def resource(self) -> None:
        name = self.fresh("res")
        resource = t.Resource(len(self.resources), name, "x")
        self.lines.append(f'(export "{name}" (type ${name} (sub resource)))')
        self.exports[name] = resource
        self.resources.append((resource, f"${name}"))

    def use(self) -> Used:
        """Return a type to put into another."""
        again: int = self.draw(st.integers(0, 3))
        if self.values and again:
            used: Used = self.draw(st.sampled_from(self.values))
            return used
        name = self.draw(st.sampled_from(PRIMITIVES))
        return t.Primitive(name), name

    def maybe(self) -> tuple[t.ValueType | None, str]:
        return self.use() if self.draw(st.booleans()) else (None, "")

    def define(self) -> None:
        value, text = self.draw(st.sampled_from(BUILDERS))(self)
        name = self.fresh("ty")
        self.lines.append(f"(type ${name} {text})")
        if self.draw(st.booleans()):
            self.lines.append(f'(export "{name}" (type ${name}-x (eq ${name})))')
            self.exports[name] = value
            name = f"{name}-x"
        self.values.append((value, f"${name}"))

    def function(self) -> None:
        params = [(name, *self.use()) for name in self.draw(names(0, 4))]
        result, result_text = self.maybe()
        is_async = self.draw(st.booleans())
        text = " ".join(f'(param "{name}" {written})' for name, _, written in params)
        text += f" (result {result_text})" if result_text else ""
        name = self.fresh("fn")
        self.lines.append(f'(export "{name}" (func {"async " if is_async else ""}{text}))')
        listed = tuple(t.Param(param, value) for param, value, _ in params)
        self.exports[name] = t.FuncType(listed, result, is_async)


def record(i: Interface) -> Used:
    fields = [(name, *i.use()) for name in i.draw(names())]
    text = " ".join(f'(field "{name}" {written})' for name, _, written in fields)
    return t.Record(tuple(t.Field(name, value) for name, value, _ in fields)), f"(record {text})"


def variant(i: Interface) -> Used:
    cases = [(name, *i.maybe()) for name in i.draw(names())]
    text = " ".join(f'(case "{name}" {written})' for name, _, written in cases)
    return t.VariantType(tuple(t.Case(name, value) for name, value, _ in cases)), f"(variant {text})"


def enum(i: Interface) -> Used:
    cases = tuple(i.draw(names()))
    return t.Enum(cases), f"(enum {quoted(cases)})"


def flags(i: Interface) -> Used:
    flags = tuple(i.draw(names()))
    return t.Flags(flags), f"(flags {quoted(flags)})"


def tuple_(i: Interface) -> Used:
    parts = [i.use() for _ in range(i.draw(st.integers(1, 4)))]
    return t.TupleType(tuple(value for value, _ in parts)), f"(tuple {' '.join(text for _, text in parts)})"


def list_(i: Interface) -> Used:
    value, text = i.use()
    length = i.draw(st.none() | st.integers(1, 2**32 - 1))
    return t.ListType(value, length), f"(list {text}{'' if length is None else f' {length}'})"


def map_(i: Interface) -> Used:
    key = i.draw(st.sampled_from(KEYS))
    value, text = i.use()
    return t.MapType(t.Primitive(key), value), f"(map {key} {text})"


def option(i: Interface) -> Used:
    value, text = i.use()
    return t.Option(value), f"(option {text})"


def result(i: Interface) -> Used:
    ok, ok_text = i.maybe()
    err, err_text = i.maybe()
    return t.ResultType(ok, err), f"(result {ok_text} {f'(error {err_text})' if err_text else ''})"


def stream(i: Interface) -> Used:
    value, text = i.maybe()
    return t.StreamType(value), f"(stream {text})"


def future(i: Interface) -> Used:
    value, text = i.maybe()
    return t.FutureType(value), f"(future {text})"


def error_context(_: Interface) -> Used:
    return t.ErrorContext(), "error-context"


def handle(i: Interface) -> Used:
    if not i.resources:
        return enum(i)
    resource, text = i.draw(st.sampled_from(i.resources))
    kind: type[t.Own | t.Borrow] = t.Own if i.draw(st.booleans()) else t.Borrow
    return kind(resource), f"({'own' if kind is t.Own else 'borrow'} {text})"


BUILDERS = (
    record, variant, enum, flags, tuple_, list_, map_, option, result, stream, future, error_context, handle,
)  # fmt: skip


@st.composite
def interfaces(draw: st.DrawFn) -> Interface:
    made = Interface(draw)
    steps = (Interface.resource, Interface.define, Interface.define, Interface.define, Interface.function)
    for _ in range(draw(st.integers(1, 12))):
        draw(st.sampled_from(steps))(made)
    return made


def plain(instance: InstanceType) -> dict[str, object]:
    return {name: getattr(extern, "type", extern) for name, extern in instance.exports.items()}


usual = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@usual
@given(interfaces())
def test_an_imported_interface_is_read_as_it_was_made(made: Interface) -> None:
    wasm = assemble(f'(component (import "x" (instance {" ".join(made.lines)})))')
    shape = read(wasm)
    (imported,) = shape.imports
    assert isinstance(imported.type, InstanceType)
    assert plain(imported.type) == made.exports
    assert list(imported.type.exports) == list(made.exports)
    named = [v for v in plain(imported.type).values() if isinstance(v, t.Record | t.Enum | t.Flags)]
    assert all(value.name in made.exports for value in named)
    render(shape)
    json.dumps(as_dict(shape))


@usual
@given(interfaces())
def test_what_passes_through_components_keeps_its_types_and_resources(made: Interface) -> None:
    body = " ".join(made.lines)
    wasm = assemble(f"""(component
      (type $i (instance {body}))
      (import "x" (instance $x (type $i)))
      (import "y" (instance $y (type $i)))
      (component $inner
        (type $j (instance {body}))
        (import "in" (instance $in (type $j)))
        (component $passes
          (type $k (instance {body}))
          (import "deep" (instance $deep (type $k)))
          (export "out" (instance $deep)))
        (instance $p (instantiate $passes (with "deep" (instance $in))))
        (export "out" (instance $p "out")))
      (instance $a (instantiate $inner (with "in" (instance $x))))
      (instance $b (instantiate $inner (with "in" (instance $y))))
      (export "of-x" (instance $a "out"))
      (export "of-y" (instance $b "out") (instance (type $i))))""")
    shape = read(wasm)
    x, y = (item.type for item in shape.imports)
    of_x, of_y = (item.type for item in shape.exports)
    assert (x, y) == (of_x, of_y)
    assert isinstance(x, InstanceType)
    assert isinstance(y, InstanceType)
    # Two imports of one type have resources of their own.
    assert not {r.id for r in x.resources.values()} & {r.id for r in y.resources.values()}
    assert {r.owner for r in y.resources.values()} <= {"y"}


@usual
@given(interfaces())
def test_a_component_that_makes_resources_makes_new_ones_each_time(made: Interface) -> None:
    body = " ".join(made.lines)
    wasm = assemble(f"""(component
      (component $maker
        (import "x" (instance $x {body}))
        (type $r (resource (rep i32)))
        (export $r1 "made" (type $r))
        (type $list (list (own $r1)))
        (export "list" (type $list))
        (export "x" (instance $x)))
      (import "x" (instance $x {body}))
      (instance $a (instantiate $maker (with "x" (instance $x))))
      (instance $b (instantiate $maker (with "x" (instance $x))))
      (export "a" (instance $a))
      (export "b" (instance $b)))""")
    shape = read(wasm)
    a, b = (item.type for item in shape.exports)
    assert isinstance(a, InstanceType)
    assert isinstance(b, InstanceType)
    first, second = a.resources["made"], b.resources["made"]
    assert (first.owner, second.owner, first.imported) == ("a", "b", False)
    assert first != second
    assert plain(a)["list"] == t.ListType(t.Own(first))
    assert plain(b)["list"] == t.ListType(t.Own(second))
    assert a.exports["x"] == b.exports["x"] == shape.imports[0].type
